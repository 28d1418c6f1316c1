package profile

import (
	"fmt"
	"time"
)

// Finding is what a check saw. A finding that is not OK names what to do. A
// doubt is OK for want of knowledge, or merely odd.
type Finding struct {
	Check   string  `json:"check"` // as "identity.model"
	OK      bool    `json:"ok"`
	Doubt   bool    `json:"doubt,omitempty"`
	Seen    string  `json:"seen"`
	Allowed string  `json:"allowed,omitempty"`
	Share   float64 `json:"share,omitempty"` // of requests or steps concerned, in [0,1]
	Advice  string  `json:"advice,omitempty"`
}

// AllOK says whether no finding is wrong. Doubts do not count.
func AllOK(fs []Finding) bool {
	for _, f := range fs {
		if !f.OK {
			return false
		}
	}
	return true
}

// Present checks that the profile has all the tables that its layout needs
// and that its model's depth is known.
func (p *Profile) Present() []Finding {
	if p.Step != nil {
		return []Finding{{Check: "present", OK: true, Seen: "a step-time profile"}}
	}
	f := Finding{Check: "present", OK: len(p.Missing) == 0, Seen: fmt.Sprintf("%d tables in %s layout", len(p.Tables), p.Format), Allowed: "all tables of the layout"}
	if !f.OK {
		f.Seen = "missing: " + p.Missing[0]
		f.Advice = "profile the missing operators, or give the folder that has them"
	}
	out := []Finding{f}
	if p.Dims.Layers == 0 {
		out = append(out, Finding{
			Check: "present.num_layers", Seen: fmt.Sprintf("the depth of %q is not known", p.Identity.Model),
			Advice: "state num_layers in a " + ManifestFile + " beside the tables",
		})
	}
	return out
}

// Identify compares what is deployed with what was profiled, field by field.
// A field that either side does not state is a doubt and no mismatch.
func Identify(asked, of Identity) []Finding {
	num := func(n int) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	equal := func(a, b string) bool { return a == b }
	var out []Finding
	for _, f := range []struct {
		name      string
		asked, of string
		same      func(a, b string) bool
	}{
		{"model", asked.Model, of.Model, SameModel},
		{"gpu", asked.GPU, of.GPU, SameGPU},
		{"tensor_parallel", num(asked.TP), num(of.TP), equal},
		{"dtype", asked.Dtype, of.Dtype, SameDtype},
		{"attention", asked.Attention, of.Attention, SameAttention},
		{"block_size", num(asked.BlockSize), num(of.BlockSize), equal},
	} {
		x := Finding{Check: "identity." + f.name, OK: true, Seen: f.of, Allowed: f.asked}
		if x.Seen == "" {
			x.Seen = "not stated"
		}
		switch {
		case f.asked == "":
			x.Doubt, x.Advice = true, "the deployment does not state "+f.name
		case f.of == "":
			x.Doubt = true
			x.Advice = fmt.Sprintf("state %s in a %s beside the profile", f.name, ManifestFile)
		case !f.same(f.asked, f.of):
			x.OK = false
			x.Advice = fmt.Sprintf("profile %s %s, or correct the deployment", f.name, f.asked)
		}
		out = append(out, x)
	}
	return out
}

// Age judges when the profile was measured against the end of the measurement
// that it is to explain: not against now, so that the verdict stays the same
// when it is given again. most 0 is no limit. An unknown date under a limit is
// not fresh.
func Age(measured, ended time.Time, most time.Duration) Finding {
	f := Finding{Check: "fresh", OK: true, Allowed: "any age"}
	if most > 0 {
		f.Allowed = "at most " + days(most)
	}
	switch {
	case measured.IsZero():
		f.Seen = "the profile does not say when it was measured"
		f.OK, f.Doubt = most == 0, most == 0
		f.Advice = "state measured_at in a " + ManifestFile + " beside the profile, or profile again"
	case ended.IsZero():
		f.Seen = "measured at " + measured.Format(time.RFC3339) + "; the workload does not say when its measurement ended"
		f.OK, f.Doubt = most == 0, most == 0
		f.Advice = "give a workload whose workload.json states ended"
	default:
		age := ended.Sub(measured)
		f.Seen = days(age) + " before the measurement ended"
		if age < 0 {
			f.Seen = days(-age) + " after the measurement ended"
			age = -age
		}
		if most > 0 && age > most {
			f.OK, f.Advice = false, "profile again, or raise max_age"
		}
	}
	return f
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%.1f days", d.Hours()/24)
}
