package cli

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"calrun/internal/engine"
	"calrun/pipeline"

	"github.com/spf13/cobra"
)

//go:embed init.yaml.tmpl
var planTemplate string

// beginning is what init has to know to write a plan.
type beginning struct {
	File                string
	URL, Model, GPU     string
	GPUs                int
	Profiles, Trace     string
	Name, ServedAs      string
	Stated              []pair // of the deployment, as the engine states it
	Engine              []pair // flags that differ from what a plan takes by default
	MaxTotal, MaxPrompt int
	Probes              string
	Takes               string // that the engine is kept busy
}

type pair struct {
	Name  string
	Value any
}

// initVerb writes a plan to begin with.
func (a *app) initVerb() *cobra.Command {
	var b beginning
	var ask question
	c := &cobra.Command{
		Use:   "init [PLAN]",
		Short: "Write a plan to begin with, for an engine of yours",
		Long: `Write a plan that validates: measure the engine, profile it or check its
profiles, simulate, compare, diagnose, judge, tune once. It begins as a first look
of minutes; its comments say what to raise for which certainty. What no flag says
is asked for on a terminal. An engine that answers is asked what it is, and the
plan holds what it states; one that does not is no hindrance.`,
		Example: `  calrun init
  calrun init plans/llama.yaml --url http://127.0.0.1:8000 --gpu A100-80GB --trace splitwise_conv.csv`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, given []string) error {
			b.File = "plan.yaml"
			if len(given) > 0 {
				b.File = given[0]
			}
			if err := ask.check(); err != nil {
				return err
			}
			return a.begin(c.Context(), b, ask)
		},
	}
	c.Flags().StringVar(&b.URL, "url", "", "base URL of the engine (default http://127.0.0.1:8000)")
	c.Flags().StringVar(&b.GPU, "gpu", "", "name of the card, as A100-80GB")
	c.Flags().IntVar(&b.GPUs, "gpus", 1, "number of cards")
	c.Flags().StringVar(&b.Profiles, "profiles", "", "folder of operator profiles in Vidur's layout (default: a profile is measured over the API)")
	c.Flags().StringVar(&b.Trace, "trace", "", "trace in Vidur's columns whose lengths and arrivals are used (default: a distribution of lengths)")
	ask.flags(c)
	return c
}

func (a *app) begin(ctx context.Context, b beginning, ask question) error {
	if _, err := os.Lstat(b.File); err == nil {
		return usageError{fmt.Errorf("%s exists; give the new plan another name", b.File)}
	}
	b.Model = ask.model
	in := bufio.NewReader(a.In)
	if err := a.fill(in, &b.URL, "base URL of the engine", "http://127.0.0.1:8000"); err != nil {
		return err
	}
	facts, err := a.facts(ctx, b.URL, ask)
	if err != nil {
		return err
	}
	b.take(facts, ask)
	for _, q := range []struct {
		to          *string
		what, usual string
	}{
		{&b.Model, "model", facts.Model},
		{&b.GPU, "card", facts.GPU},
		{&b.Profiles, "folder of operator profiles, empty to measure one", ""},
		{&b.Trace, "trace, empty for a distribution of lengths", ""},
	} {
		if err := a.fill(in, q.to, q.what, q.usual); err != nil {
			return err
		}
	}
	text, err := a.write(ctx, b)
	if err != nil {
		return err
	}
	return a.begun(b, facts, text)
}

// fill asks for what no flag has said. Without a terminal the usual answer is
// taken.
func (a *app) fill(in *bufio.Reader, to *string, what, usual string) error {
	if *to != "" {
		return nil
	}
	*to = usual
	if f, ok := a.In.(*os.File); !ok || a.look(f).width == 0 || a.json {
		return nil
	}
	if usual != "" {
		what += " [" + usual + "]"
	}
	fmt.Fprintf(a.Err, "%s: ", what)
	line, err := in.ReadString('\n')
	if err != nil {
		return usageError{errors.New("the answers ended; nothing was written")}
	}
	if line = strings.TrimSpace(line); line != "" {
		*to = line
	}
	return nil
}

// facts are what the engine states; none, with a word, if it does not answer.
func (a *app) facts(ctx context.Context, url string, ask question) (engine.Facts, error) {
	p, err := a.probe(ctx, url, ask)
	var usage usageError
	if ctx.Err() != nil || errors.As(err, &usage) {
		return p.Facts, err
	}
	if err != nil {
		fmt.Fprintf(a.Err, "the plan is written without the engine's own word: %v\n", err)
	}
	return p.Facts, nil
}

// take puts into the plan what the engine states, and what follows from it.
func (b *beginning) take(f engine.Facts, ask question) {
	b.Name = strings.Trim(notName.ReplaceAllString(strings.ToLower(strings.TrimSuffix(filepath.Base(b.File), filepath.Ext(b.File))), "-"), "-")
	if b.Name == "" || b.Name[0] < 'a' {
		b.Name = "plan-" + b.Name
	}
	stated, _ := factRows(f)
	for _, row := range stated {
		name := strings.TrimSpace(row[0])
		if slices.Contains(deployed, name) {
			b.Stated = append(b.Stated, pair{name, row[1]})
		}
	}
	b.ServedAs = ask.model
	for _, p := range []pair{{"api", ask.api}, {"prompt", ask.prompt}, {"fields", ask.fields}, {"key_env", ask.keyEnv}} {
		if !slices.Contains([]any{"completions", "tokens", "vllm", ""}, p.Value) {
			b.Engine = append(b.Engine, p)
		}
	}
	b.MaxTotal, b.Probes = 4224, "[[512, 128], [2048, 512], [4096, 128]]"
	if f.MaxModelLen != nil && *f.MaxModelLen < b.MaxTotal {
		n := *f.MaxModelLen
		b.MaxTotal = n
		b.Probes = fmt.Sprintf("[[%d, %d], [%d, %d], [%d, %d]]", max(1, n/8), max(1, n/16), max(1, n/4), max(1, n/8), max(1, n/2), max(1, n/16))
	}
	b.MaxPrompt = max(200, b.MaxTotal/2)
}

var (
	notName = regexp.MustCompile(`[^a-z0-9-]+`)
	// deployed are the facts of an engine that a deployment names alike.
	deployed = []string{
		"dtype", "attention", "block_size", "tensor_parallel", "pipeline_parallel", "gpu_memory_utilization", "max_num_seqs",
		"max_num_batched_tokens", "max_model_len", "chunked_prefill", "prefix_caching", "async_scheduling", "enforce_eager",
	}
)

// write makes the plan, sees that it validates, and only then writes it.
func (a *app) write(ctx context.Context, b beginning) ([]byte, error) {
	for _, path := range []*string{&b.Profiles, &b.Trace} { // given from here; a plan's paths are relative to it
		if *path == "" {
			continue
		}
		if _, err := os.Stat(*path); err != nil {
			return nil, usageError{fmt.Errorf("%w; nothing was written", err)}
		}
		if filepath.IsAbs(*path) {
			continue
		}
		here, err := filepath.Abs(*path)
		if err != nil {
			return nil, err
		}
		dir, err := filepath.Abs(filepath.Dir(b.File))
		if err != nil {
			return nil, err
		}
		if *path, err = filepath.Rel(dir, here); err != nil {
			return nil, err
		}
	}
	plan, problems := pipeline.LoadBytes(b.File, b.text(), pipeline.LoadOptions{Kinds: a.kinds})
	if problems.Err() != nil {
		return nil, usageError{fmt.Errorf("with these answers the plan would not be valid; nothing was written: %w", problems.Err())}
	}
	store, err := a.storeOf(b.File)
	if err != nil {
		return nil, err
	}
	f, err := pipeline.Preview(ctx, plan, store, pipeline.RunOptions{})
	if err != nil {
		return nil, err
	}
	if f.Seconds > 0 {
		b.Takes = brief(time.Duration(f.Seconds * float64(time.Second)))
	}
	text := b.text()
	if err := os.MkdirAll(filepath.Dir(b.File), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(b.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(text)
	return text, errors.Join(err, file.Close())
}

// text is the plan.
func (b beginning) text() []byte {
	t := template.Must(template.New("plan").Funcs(template.FuncMap{"q": func(v any) string { return strconv.Quote(fmt.Sprint(v)) }}).Parse(planTemplate))
	var text bytes.Buffer
	if err := t.Execute(&text, b); err != nil {
		panic("cli: the plan's template: " + err.Error())
	}
	return text.Bytes()
}

func (a *app) begun(b beginning, f engine.Facts, text []byte) error {
	if a.json {
		return a.print(map[string]any{"calrun": "v1", "file": b.File, "engine": f, "plan": string(text)})
	}
	_, err := fmt.Fprintf(a.Out, "%s is written. Look at its rates and tolerances; then\n  calrun plan %[1]s\n  calrun run %[1]s\n", b.File)
	return err
}
