package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"calrun/pipeline"
)

// The elements of JUnit's XML, as CI systems read them: a suite for the steps
// and one for each gate, a case for each step and each assertion.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     float64      `xml:"time,attr"` // seconds
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      float64     `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	File    string      `xml:"file,attr,omitempty"`
	Line    int         `xml:"line,attr,omitempty"`
	Time    float64     `xml:"time,attr"`
	Failure *junitCause `xml:"failure"`
	Error   *junitCause `xml:"error"`
	Skipped *junitCause `xml:"skipped"`
}

type junitCause struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// junit writes a run as JUnit XML. Inconclusive is a failure of type
// "inconclusive": nobody may take it for a pass. A warning that did not hold,
// and what could not be reached, is skipped.
func junit(w io.Writer, e ending) error {
	s := e.past.State
	all := junitSuites{Name: s.Plan, Time: s.Active.Seconds()}
	add := func(suite junitSuite) {
		suite.Timestamp = s.Opened.UTC().Format(time.RFC3339)
		for _, c := range suite.Cases {
			suite.Tests++
			suite.Time += c.Time
			suite.Failures += one(c.Failure != nil)
			suite.Errors += one(c.Error != nil)
			suite.Skipped += one(c.Skipped != nil)
		}
		all.Tests, all.Failures = all.Tests+suite.Tests, all.Failures+suite.Failures
		all.Errors, all.Skipped = all.Errors+suite.Errors, all.Skipped+suite.Skipped
		all.Suites = append(all.Suites, suite)
	}
	steps := junitSuite{Name: s.Plan + " steps"}
	for _, name := range e.steps() {
		steps.Cases = append(steps.Cases, e.stepCase(e.last().Steps[name]))
	}
	add(steps)
	for _, name := range e.gates() {
		add(junitSuite{Name: s.Plan + " gate " + name, Cases: e.gateCases(e.last().Gates[name])})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return fmt.Errorf("JUnit XML: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (e ending) stepCase(st *pipeline.StepState) junitCase {
	c := junitCase{Name: st.Name, Class: e.past.State.Plan + ".steps", File: e.past.State.File, Line: e.line(st.Name, ""), Time: stepOf(st, false).Seconds}
	switch st.Status {
	case pipeline.Failed:
		c.Error = &junitCause{Type: "failed", Message: st.Error, Text: st.Error}
	case pipeline.Done, pipeline.Reused:
	default:
		c.Skipped = &junitCause{Message: strings.TrimSuffix(string(st.Status)+": "+st.Error, ": ")}
	}
	return c
}

func (e ending) gateCases(g *pipeline.GateState) []junitCase {
	base := junitCase{Class: e.past.State.Plan + "." + g.Name, File: e.past.State.File}
	if g.Blocked || g.Error != "" {
		c := base
		c.Name, c.Line = g.Name, e.line(g.Name, "")
		if g.Error != "" {
			c.Error = &junitCause{Type: "not judged", Message: g.Error, Text: g.Error}
		} else {
			c.Skipped = &junitCause{Message: "what it judges has no result"}
		}
		return []junitCase{c}
	}
	var out []junitCase
	for _, j := range g.Assert {
		c := base
		c.Name, c.Line = j.Name, e.line(g.Name, j.Name)
		if j.Verdict != pipeline.Pass {
			c.Failure = &junitCause{Type: string(j.Verdict), Message: j.Sentence(g.Name), Text: j.Sentence(g.Name)}
		}
		out = append(out, c)
	}
	for _, j := range g.Warn {
		c := base
		c.Name, c.Line = j.Name+" (warning)", e.line(g.Name, j.Name)
		if j.Verdict != pipeline.Pass {
			c.Skipped = &junitCause{Message: "a warning has no say: " + j.Sentence(g.Name)}
		}
		out = append(out, c)
	}
	return out
}

// line is where the plan declares a step, or an assertion of a gate; 0 if
// nobody knows any more.
func (e ending) line(name, assertion string) int {
	if e.plan == nil || e.plan.Decl(name) == nil {
		return 0
	}
	d := e.plan.Decl(name)
	if d.Gate == nil || assertion == "" {
		return d.Line
	}
	for _, a := range append(slices.Clone(d.Gate.Assert), d.Gate.Warn...) {
		if a.Name == assertion {
			return a.Line
		}
	}
	return d.Line
}
