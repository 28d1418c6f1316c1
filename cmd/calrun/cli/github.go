package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"calrun/pipeline"
)

// github writes what did not hold as annotations of a GitHub workflow, at the
// assertion's line of the plan, and the run as a summary of the job.
// Annotations go to standard error, which the runner reads like standard
// output: with --json that holds one document and nothing else.
func (a *app) github(e ending) error {
	s := e.past.State
	file := a.inWorkspace(e)
	for _, name := range e.gates() {
		g := e.last().Gates[name]
		if g.Error != "" {
			a.annotate("error", file, e.line(name, ""), 0, "gate "+name, g.Error)
		}
		for _, j := range g.Assert {
			switch j.Verdict {
			case pipeline.Fail:
				a.annotate("error", file, e.line(name, j.Name), 0, "gate "+name, j.Sentence(name))
			case pipeline.Inconclusive:
				a.annotate("warning", file, e.line(name, j.Name), 0, "gate "+name, j.Sentence(name))
			}
		}
		for _, j := range g.Warn {
			if j.Verdict != pipeline.Pass {
				a.annotate("notice", file, e.line(name, j.Name), 0, "gate "+name, j.Sentence(name))
			}
		}
	}
	for _, name := range e.steps() {
		if st := e.last().Steps[name]; st.Status == pipeline.Failed {
			a.annotate("error", file, e.line(name, ""), 0, "step "+name, st.Error)
		}
	}
	summary := a.Getenv("GITHUB_STEP_SUMMARY")
	if summary == "" {
		return nil
	}
	f, err := os.OpenFile(summary, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("job summary: %w", err)
	}
	_, err = f.WriteString(markdown(e, s))
	return errors.Join(err, f.Close())
}

// githubProblems annotates what is wrong with a plan.
func (a *app) githubProblems(specs []reportSpec, err error) {
	for _, s := range specs {
		if s.format != "github" {
			continue
		}
		for _, p := range problemsIn(err) {
			level := "error"
			if p.Warning {
				level = "warning"
			}
			a.annotate(level, p.File, p.Line, p.Col, p.Path, strings.TrimSuffix(p.Message+"; "+p.Suggest, "; "))
		}
	}
}

// annotate writes one workflow command.
func (a *app) annotate(level, file string, line, col int, title, message string) {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	at := "file=" + property.Replace(file)
	if line > 0 {
		at += fmt.Sprintf(",line=%d", line)
	}
	if col > 0 {
		at += fmt.Sprintf(",col=%d", col)
	}
	fmt.Fprintf(a.Err, "::%s %s,title=%s::%s\n", level, at, property.Replace(title), data.Replace(message))
}

// inWorkspace is the plan's path as the repository knows it.
func (a *app) inWorkspace(e ending) string {
	s := e.past.State
	root := a.Getenv("GITHUB_WORKSPACE")
	full := filepath.Join(s.Dir, filepath.Base(s.File))
	if rel, err := filepath.Rel(root, full); root != "" && err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return s.File
}

// markdown is a run as the summary of a job.
func markdown(e ending, s *pipeline.State) string {
	var b strings.Builder
	mark := map[pipeline.Verdict]string{pipeline.Pass: "✅", pipeline.Fail: "❌", pipeline.Inconclusive: "❔"}
	verdict := string(s.Verdict)
	if verdict == "" {
		verdict = fmt.Sprintf("no verdict (exit %d)", exitOf(s))
	}
	fmt.Fprintf(&b, "### calrun %s: %s %s\n\n", cell(s.Plan), mark[s.Verdict], verdict)
	if len(e.gates()) > 0 {
		b.WriteString("| gate | assertion | verdict | condition |\n|---|---|---|---|\n")
	}
	for _, name := range e.gates() {
		g := e.last().Gates[name]
		if g.Error != "" || g.Blocked {
			fmt.Fprintf(&b, "| %s | | ❔ not judged | %s |\n", name, cell(g.Error))
		}
		for _, j := range append(append([]pipeline.Judgement(nil), g.Assert...), g.Warn...) {
			fmt.Fprintf(&b, "| %s | %s | %s %s | %s |\n", name, j.Name, mark[j.Verdict], j.Verdict, cell("`"+j.Expr+"`"+values(j)))
		}
	}
	for _, r := range s.Reasons {
		fmt.Fprintf(&b, "\n- %s", cell(r))
	}
	fmt.Fprintf(&b, "\n\nrun `%s`, %d rounds, exit %d\n", s.Run, len(s.Rounds), exitOf(s))
	return b.String()
}

// values are the numbers that an assertion read.
func values(j pipeline.Judgement) string {
	text := j.Sentence("")
	if i := strings.Index(text, " ("); i >= 0 && len(j.Values) > 0 {
		return text[i:]
	}
	return ""
}

// cell is text that breaks no table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", "").Replace(s)
}
