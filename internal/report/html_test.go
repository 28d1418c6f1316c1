package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func page(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is written now; look at it, then run the test with -update", path)
	}
}

func TestHTMLGolden(t *testing.T) {
	golden(t, "page.html", page(t, sample()))
}

func TestHTMLSameBytes(t *testing.T) {
	first, second := page(t, sample()), page(t, sample())
	if first != second {
		t.Error("the same page was written as two different texts")
	}
}

// A page that fetched anything would show another thing next year, or nothing
// on a machine without a network.
func TestHTMLRefersToNothing(t *testing.T) {
	text := page(t, sample())
	for _, bad := range []string{"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q: it must stand alone", bad)
		}
	}
	if strings.Contains(text, "ZgotmplZ") {
		t.Error("the template refused a value: ZgotmplZ")
	}
	if strings.Contains(text, "NaN") {
		t.Error("the page shows NaN")
	}
}

// The numbers on the page are the numbers of the data: each cell once, with
// its full precision beside the rounded text.
func TestHTMLNumbers(t *testing.T) {
	p := sample()
	text := page(t, p)
	found := map[string]int{}
	for _, m := range regexp.MustCompile(`data-cell="([a-z0-9 ]+)" data-bias="([^"]+)"><b>([^<]+)</b>`).FindAllStringSubmatch(text, -1) {
		bias, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(m[3], "&#43;", "+"); got != signed(bias) {
			t.Errorf("cell %s: the page says %q for %v", m[1], got, bias)
		}
		found[m[1]+" "+m[2]]++
	}
	total := 0
	for _, pt := range p.Comparison.Points {
		for _, c := range pt.Cells {
			total++
			if key := c.Metric + " " + c.Quantile + " " + strconv.FormatFloat(c.Bias, 'g', -1, 64); found[key] == 0 {
				t.Errorf("%s: cell %s is not on the page", pt.Name, key)
			}
		}
	}
	if sum := sumOf(found); sum != total {
		t.Errorf("the page has %d cells, the data %d", sum, total)
	}
}

func sumOf(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// What a plan's author writes is text, never markup.
func TestHTMLEscapes(t *testing.T) {
	evil := `<script>alert("x")</script>`
	p := Page{
		Plan: evil, Run: evil, Verdict: "fail", Headline: evil, Reasons: []string{evil}, Source: evil,
		Comparison: &Comparison{Points: []Point{{Name: evil, Group: "sweep", Rate: 1, State: evil, Cells: []Cell{{Metric: evil, Quantile: evil, Doubt: evil}}, CDFs: []CDF{{Metric: evil, P: []float64{0, 1}, Measured: []float64{1, 2}, Simulated: []float64{1, 2}}}}}},
	}
	if strings.Contains(page(t, p), "<script") || strings.Contains(strings.ToLower(page(t, p)), "<script") {
		t.Error("markup of the data reached the page")
	}
}

func TestHTMLOfLittle(t *testing.T) {
	rows := []struct {
		name string
		page Page
		want string
	}{
		{"nothing at all", Page{}, "not finished"},
		{"a run that died before its first gate", Page{Plan: "p", Verdict: "error", Reasons: []string{"step hardware: no engine"}}, "no engine"},
		{"a comparison without points", Page{Plan: "p", Comparison: &Comparison{}}, "p"},
		{"a point with one value on each side", Page{Plan: "p", Comparison: &Comparison{Points: []Point{{Name: "replay", CDFs: []CDF{{Metric: "ttft", Measured: []float64{1}, Simulated: []float64{1}}}}}}}, "too few values"},
		{"a gate with nothing to judge", Page{Gates: []Gate{{Name: "g", Of: "x", Verdict: "blocked"}}}, "nothing to judge"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if got := page(t, r.page); !strings.Contains(got, r.want) {
				t.Errorf("the page lacks %q", r.want)
			}
		})
	}
}

// Clock, paths and the run's id stand in one block, which the digest skips:
// two runs that found the same have the same page but for that block.
func TestProvenanceStandsInOneBlock(t *testing.T) {
	other := sample()
	other.Run = "20270101-000000-ffff"
	other.Provenance = []Fact{{"opened", "2027-01-01T00:00:00Z"}, {"plan", "/elsewhere/plan.yaml"}}
	for i := range other.Rounds {
		for j := range other.Rounds[i].Steps {
			s := &other.Rounds[i].Steps[j]
			s.Started, s.Ended = s.Started.Add(time.Hour), s.Ended.Add(2*time.Hour)
		}
		if r := other.Rounds[i].Route; r != nil && r.Remedy != nil {
			r.Remedy.Ended = r.Remedy.Ended.Add(time.Hour)
		}
	}
	cut := func(p Page) string {
		text := page(t, p)
		from := strings.Index(text, `<section class="origin" id="provenance"`)
		if from < 0 {
			t.Fatal("the page has no provenance block")
		}
		return text[:from] + text[from+strings.Index(text[from:], "</section>"):]
	}
	if page(t, sample()) == page(t, other) || cut(sample()) != cut(other) {
		t.Error("the pages differ elsewhere than in the provenance block, or not at all")
	}
	digest := func(p Page) string {
		d, err := p.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if digest(sample()) != digest(other) {
		t.Error("the digest sees the provenance")
	}
	other.Figures[0].Value += 1e-15
	if digest(sample()) == digest(other) {
		t.Error("the digest does not see a figure")
	}
	page := sample()
	if first := digest(page); digest(page) != first {
		t.Error("the digest changed the page")
	}
}
