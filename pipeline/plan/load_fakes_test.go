package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"calrun/pipeline/field"
	"calrun/pipeline/kind"
	"calrun/pipeline/suggest"
)

// Kinds shaped like the real ones, so that plans can be loaded without them.

type nop struct{}

func (nop) Run(context.Context, *kind.Runtime) (any, error) { return nil, nil }

type fakeDeployment struct {
	Model       string  `yaml:"model" json:"model" doc:"name of the model"`
	GPU         string  `yaml:"gpu" json:"gpu" doc:"name of the card"`
	GPUs        int     `yaml:"gpus" json:"gpus" min:"1" default:"1" doc:"number of cards"`
	TP          int     `yaml:"tensor_parallel" json:"tensor_parallel" min:"1" default:"1" doc:"tensor-parallel size"`
	PP          int     `yaml:"pipeline_parallel" json:"pipeline_parallel" min:"1" default:"1" doc:"pipeline-parallel size"`
	Dtype       string  `yaml:"dtype" json:"dtype" enum:"float16,bfloat16,float32,fp8" doc:"type of the weights"`
	Attention   string  `yaml:"attention" json:"attention" doc:"attention kernel"`
	BlockSize   int     `yaml:"block_size" json:"block_size" min:"1" doc:"tokens in one KV-cache block"`
	MemoryShare float64 `yaml:"gpu_memory_utilization" json:"gpu_memory_utilization" min:"0.01" max:"1" doc:"share of memory"`
	MaxNumSeqs  *int    `yaml:"max_num_seqs" json:"max_num_seqs,omitempty" min:"1" doc:"most sequences in one step"`
}

type fakeParams struct {
	BatchSizeCap *int     `yaml:"batch_size_cap" json:"batch_size_cap,omitempty" min:"1" doc:"most sequences"`
	CPUOverhead  *float64 `yaml:"cpu_overhead_s" json:"cpu_overhead_s,omitempty" min:"0" doc:"seconds added to every step"`
	FittedOn     []string `yaml:"fitted_on" json:"fitted_on,omitempty" doc:"points"`
}

// fakeSteps is a union: a duration, or a number of seconds.
type fakeSteps struct{ Seconds float64 }

func (fakeSteps) JSONSchema() map[string]any {
	return map[string]any{"type": []any{"string", "number"}}
}

func (f *fakeSteps) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		d, err := time.ParseDuration(string(data[1 : len(data)-1]))
		f.Seconds = d.Seconds()
		return err
	}
	return json.Unmarshal(data, &f.Seconds)
}

type fakeSpread struct {
	Min    int `yaml:"min" min:"1" doc:"shortest"`
	Max    int `yaml:"max" min:"1" doc:"longest"`
	Median int `yaml:"median" min:"0" doc:"of a log-normal"`
}

type fakeWorkload struct {
	Seed     int    `yaml:"seed" default:"1" min:"0" doc:"of everything drawn"`
	MaxTotal int    `yaml:"max_total" min:"0" doc:"most tokens of a request"`
	Over     string `yaml:"over" enum:"clip,drop,refuse" default:"refuse" doc:"what becomes of longer ones"`
	Probes   *struct {
		Lengths  [][2]int `yaml:"lengths" required:"true" min:"1" doc:"pairs"`
		Requests int      `yaml:"requests" min:"1" default:"10" doc:"of each"`
	} `yaml:"probes" doc:"requests alone on an idle engine"`
	Sweep *struct {
		Arrivals string         `yaml:"arrivals" enum:"poisson,constant" default:"poisson" doc:"arrival process"`
		RPS      []float64      `yaml:"rps" required:"true" doc:"rates, in requests per second"`
		Requests int            `yaml:"requests" min:"1" default:"100" doc:"of each rate"`
		Seeds    int            `yaml:"seeds" min:"1" max:"100" default:"1" doc:"repeats"`
		Lengths  field.Artefact `yaml:"lengths" artefact:"trace" doc:"trace whose lengths are drawn"`
		Drawn    *struct {
			Prompt fakeSpread `yaml:"prompt" required:"true" doc:"tokens"`
			Output fakeSpread `yaml:"output" required:"true" doc:"tokens"`
		} `yaml:"distribution" doc:"lengths"`
	} `yaml:"sweep" doc:"rates"`
	Replay *struct {
		Trace   field.Artefact `yaml:"trace" artefact:"trace" required:"true" doc:"arrivals and lengths"`
		Window  time.Duration  `yaml:"window" min:"1s" default:"10m" doc:"how much of it"`
		Repeats int            `yaml:"repeats" min:"1" default:"1" doc:"times"`
	} `yaml:"replay" doc:"a recorded trace"`
}

type fakeEngine struct {
	URL      string     `yaml:"url" key:"-" doc:"base URL"`
	Emulator *fakeSteps `yaml:"step" doc:"seconds of a step"`
}

type fakeHardware struct {
	nop        `yaml:"-"`
	Workload   fakeWorkload   `yaml:"workload" required:"true" doc:"what is sent"`
	Engine     fakeEngine     `yaml:"engine" doc:"where to"`
	Deployment fakeDeployment `yaml:"deployment" doc:"what was deployed"`
	WarmUp     int            `yaml:"warm_up" min:"0" default:"3" doc:"requests before each point"`
	Verbose    bool           `yaml:"verbose" doc:"say more"`
	Labels     map[string]int `yaml:"labels" doc:"numbers by name"`
}

type fakeHardwareResult struct {
	Workload    field.Artefact `json:"workload" artefact:"workload"`
	Measurement field.Artefact `json:"measurement" artefact:"measurement"`
	Requests    int            `json:"requests"`
	Note        string         `json:"note,omitempty"`
}

func (s *fakeHardware) Names(in kind.Static) map[string][]string {
	if in.Dynamic("workload.sweep.rps") || in.Dynamic("workload.probes") {
		return nil
	}
	var names []string
	if p := s.Workload.Probes; p != nil {
		for _, l := range p.Lengths {
			names = append(names, fmt.Sprintf("probe-%d-%d", l[0], l[1]))
		}
	}
	if sw := s.Workload.Sweep; sw != nil {
		for _, r := range sw.RPS {
			names = append(names, "rps-"+strconv.FormatFloat(r, 'f', -1, 64))
		}
	}
	if s.Workload.Replay != nil {
		names = append(names, "replay")
	}
	return map[string][]string{"workload": names, "measurement": names}
}

func (s *fakeHardware) Check(kind.Static) []field.Problem {
	var out []field.Problem
	if p := s.Workload.Probes; p != nil {
		for i, l := range p.Lengths {
			if s.Workload.MaxTotal > 0 && l[0]+l[1] > s.Workload.MaxTotal {
				out = append(out, field.Problem{
					Field:   fmt.Sprintf("workload.probes.lengths[%d]", i),
					Message: fmt.Sprintf("%d + %d tokens are more than max_total %d", l[0], l[1], s.Workload.MaxTotal),
					Suggest: "raise max_total, or shorten the probe",
				})
			}
		}
	}
	return out
}

type fakeCheck struct {
	nop        `yaml:"-"`
	Workload   field.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what will be simulated"`
	Profiles   field.Artefact `yaml:"profiles" artefact:"profiles" required:"true" doc:"profiles to check"`
	Params     fakeParams     `yaml:"params" doc:"of the simulator"`
	Deployment fakeDeployment `yaml:"deployment" doc:"what was deployed"`
	Simulator  string         `yaml:"simulator" enum:"embedded,vidur" default:"embedded" doc:"which simulator"`
	MaxAge     time.Duration  `yaml:"max_age" min:"0s" doc:"oldest that is fresh"`
}

type fakeCheckResult struct {
	Profiles field.Artefact `json:"profiles" artefact:"profiles"`
	Findings field.Artefact `json:"findings" artefact:"findings"`
	Covered  bool           `json:"covered"`
	Fresh    bool           `json:"fresh"`
	KV       struct {
		Fits      bool `json:"fits"`
		BlockSize int  `json:"block_size"`
	} `json:"kv"`
	Config struct {
		Same bool   `json:"same"`
		Diff string `json:"diff,omitempty"`
	} `json:"config"`
}

type fakeSim struct {
	nop        `yaml:"-"`
	Workload   field.Artefact `yaml:"workload" artefact:"workload" required:"true" doc:"what to simulate"`
	Profiles   field.Artefact `yaml:"profiles" artefact:"profiles" required:"true" doc:"step times"`
	Params     fakeParams     `yaml:"params" doc:"of the simulator"`
	Deployment fakeDeployment `yaml:"deployment" doc:"what was deployed"`
	Simulator  string         `yaml:"simulator" enum:"embedded,vidur" default:"embedded" doc:"which simulator"`
}

type fakeSimResult struct {
	Simulation field.Artefact `json:"simulation" artefact:"simulation"`
	Params     fakeParams     `json:"params"`
}

type fakeDiff struct {
	nop       `yaml:"-"`
	Measured  field.Artefact `yaml:"measured" artefact:"measurement" required:"true" doc:"what the engine did"`
	Simulated field.Artefact `yaml:"simulated" artefact:"simulation" required:"true" doc:"what the simulator said"`
	Scope     string         `yaml:"scope" enum:"stable,all" default:"stable" doc:"which points"`
	Looks     int            `yaml:"looks" fill:"looks" min:"1" default:"1" doc:"filled by the loader"`
}

type fakeError struct {
	Mape  float64 `json:"mape"`
	Worst float64 `json:"worst"`
	Bias  float64 `json:"bias"`
}

type fakeCell struct {
	Ape  float64 `json:"ape"`
	Bias float64 `json:"bias"`
}

type fakeStat struct {
	P50 fakeError `json:"p50"`
	P90 fakeError `json:"p90"`
	P99 fakeError `json:"p99"`
}

type fakePoint struct {
	TTFT struct {
		P50 fakeCell `json:"p50"`
		P99 fakeCell `json:"p99"`
	} `json:"ttft"`
}

type fakeDiffResult struct {
	TTFT   fakeStat             `json:"ttft"`
	TPOT   fakeStat             `json:"tpot"`
	E2E    fakeStat             `json:"e2e"`
	Points map[string]fakePoint `json:"points"`
	Cells  []struct {
		Point  string  `json:"point"`
		Metric string  `json:"metric"`
		Ape    float64 `json:"ape"`
	} `json:"cells"`
	Knee struct {
		Error float64 `json:"error,omitempty"`
		State string  `json:"state"`
	} `json:"knee"`
	Detail field.Artefact `json:"detail" artefact:"diff"`
	Draws  field.Artefact `json:"draws" artefact:"draws"`
}

func (s *fakeDiff) Names(in kind.Static) map[string][]string {
	if names := in.Names("measured"); names != nil {
		return map[string][]string{"points": names}
	}
	return nil
}

type fakeDiagnose struct {
	nop      `yaml:"-"`
	Error    field.Artefact `yaml:"error" artefact:"diff" required:"true" doc:"what differs"`
	Profile  field.Artefact `yaml:"profile" artefact:"findings" doc:"what the check found"`
	Measured field.Artefact `yaml:"measured" artefact:"measurement" doc:"rows"`
	Workload field.Artefact `yaml:"workload" artefact:"workload" doc:"requests"`
	Profiles field.Artefact `yaml:"profiles" artefact:"profiles" doc:"step times"`
	Params   fakeParams     `yaml:"params" doc:"of the simulator"`
}

type fakeDiagnoseResult struct {
	Kernel   bool `json:"kernel"`
	Overhead bool `json:"overhead"`
}

type fakeTune struct {
	nop      `yaml:"-"`
	Measured field.Artefact       `yaml:"measured" artefact:"measurement" required:"true" doc:"what to fit to"`
	Profiles field.Artefact       `yaml:"profiles" artefact:"profiles" required:"true" doc:"step times"`
	Start    fakeParams           `yaml:"start" doc:"where to start"`
	FitOn    []string             `yaml:"fit_on" required:"true" doc:"points"`
	Knobs    map[string]fakeRange `yaml:"knobs" required:"true" doc:"what to turn"`
}

// fakeRange is a union: [low, high], or an object with more to say.
type fakeRange struct {
	Range [2]float64 `yaml:"range" required:"true"`
	Free  bool       `yaml:"free"`
}

func (r *fakeRange) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		type plain fakeRange
		return field.Unmarshal(data, (*plain)(r))
	}
	if err := json.Unmarshal(data, &r.Range); err != nil {
		return &field.Problem{Message: "a knob is [low, high] or {range: [low, high], free: true}"}
	}
	return nil
}

type fakeTuneResult struct {
	Params   fakeParams `json:"params"`
	FittedOn []string   `json:"fitted_on"`
}

func (s *fakeTune) Check(in kind.Static) []field.Problem {
	known := in.Names("measured")
	var out []field.Problem
	for i, name := range s.FitOn {
		if known != nil && name != "probes" && !slices.Contains(known, name) {
			out = append(out, field.Problem{
				Field: fmt.Sprintf("fit_on[%d]", i), Message: fmt.Sprintf("the measurement has no point %q", name),
				Suggest: suggest.DidYouMeanOr(name, known, "points"),
			})
		}
	}
	return out
}

type fakeReprofile struct {
	nop       `yaml:"-"`
	Method    string   `yaml:"method" enum:"probe,vidur,exec" default:"probe" doc:"how"`
	Prompts   []int    `yaml:"prompts" min:"1" doc:"lengths"`
	Operators []string `yaml:"operators" enum:"mlp,attention,all_reduce" doc:"which"`
	Cmd       []string `yaml:"run" doc:"command in front"`
}

type fakeReprofileResult struct {
	Profiles field.Artefact `json:"profiles" artefact:"profiles"`
}

type fakeExec struct {
	nop     `yaml:"-"`
	Cmd     []string                `yaml:"command" required:"true" doc:"the command"`
	Args    json.RawMessage         `yaml:"input" doc:"what the process reads"`
	Secrets map[string]field.Secret `yaml:"secrets" doc:"secrets that it reads"`
	Result  map[string]string       `yaml:"result" doc:"field: type"`
	Repeat  string                  `yaml:"repeat" enum:"exact,seeded,measured" default:"measured" doc:"of the result"`
}

func (s *fakeExec) ResultType() (field.Type, error) {
	fields := map[string]field.Type{}
	for _, name := range slices.Sorted(maps.Keys(s.Result)) {
		t, err := field.ParseType(s.Result[name])
		if err != nil {
			return field.Type{}, &field.Problem{Field: "result." + name, Message: err.Error()}
		}
		fields[name] = t
	}
	return field.NewObject(fields), nil
}

func fakeKinds() *kind.Kinds {
	return kind.NewKinds(
		kind.Kind{Name: "hardware-run", Version: 1, Repeat: kind.Measured, New: func() kind.Step { return &fakeHardware{} }, Result: fakeHardwareResult{}},
		kind.Kind{Name: "profile-check", Version: 1, New: func() kind.Step { return &fakeCheck{} }, Result: fakeCheckResult{}},
		kind.Kind{Name: "simulate", Version: 1, New: func() kind.Step { return &fakeSim{} }, Result: fakeSimResult{}},
		kind.Kind{Name: "diff", Version: 1, New: func() kind.Step { return &fakeDiff{Looks: 1} }, Result: fakeDiffResult{}},
		kind.Kind{Name: "diagnose", Version: 1, New: func() kind.Step { return &fakeDiagnose{} }, Result: fakeDiagnoseResult{}},
		kind.Kind{Name: "tune", Version: 1, Repeat: kind.Seeded, New: func() kind.Step { return &fakeTune{} }, Result: fakeTuneResult{}},
		kind.Kind{Name: "reprofile", Version: 1, Repeat: kind.Measured, New: func() kind.Step { return &fakeReprofile{} }, Result: fakeReprofileResult{}},
		kind.Kind{Name: "exec", Version: 1, Repeat: kind.Measured, New: func() kind.Step { return &fakeExec{} }},
	)
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
