package vidur

import (
	"fmt"
	"regexp"
	"strings"
)

// Crash is a simulation that Vidur did not finish, or whose result is not to
// be believed: a state of an operating point. Repeating it changes nothing.
type Crash struct {
	Reason string // a sentence
}

func (c *Crash) Error() string { return c.Reason }

// Trouble is a run that says nothing of the simulation: the machine or the
// predictor's folder is at fault, and repeating it later may help.
type Trouble struct {
	Reason string // a sentence
}

func (t *Trouble) Error() string { return t.Reason }

// failure is one way in which Vidur ends.
type failure struct {
	last    string // what the last line of stderr matches
	within  string // what stands in the traceback besides; "" is anything
	trouble bool   // of the machine, not of the simulation
	reason  string // $1 is the first group of last
}

// failures are the known ends, the first that matches counts. Each was seen.
func failures() []failure {
	return []failure{
		{
			last: `^AssertionError$`, within: `on_batch_stage_end`,
			reason: "Vidur ran out of KV blocks and 0.0.26 cannot preempt: give it more (params.kv_blocks), fewer requests at once, or take the embedded simulator for this point",
		},
		{
			last:   `^AssertionError: Simulation ended with pending requests.*'num_prefill_tokens': -`,
			reason: "a request's output alone is longer than the most tokens of a request, so that its prompt became negative",
		},
		{
			last:   `^AssertionError: Simulation ended with pending requests`,
			reason: "requests were left that could never run: one of them needs more KV blocks than there are, or its prompt is longer than the token budget of a batch",
		},
		{
			last:   `^AssertionError: Not enough memory to store even a single token`,
			reason: "Vidur's own memory planner finds no room for a single token: the weights do not fit on its card, whatever number of KV blocks is given",
		},
		{
			last: `^AssertionError$`, within: `_config\["(?:model|device_sku|sku)"\]`,
			reason: "the laid-out profile is of another model, card or node than the command line",
		},
		{
			last:   `Tensor parallel size (\d+) not found in profile data`,
			reason: "the profile has no rows of tensor parallel $1",
		},
		{
			last:   `^Exception: Training data for model (\w+) is empty`,
			reason: "the profile has no rows of $1 for this model's dimensions and this block size, as Vidur knows them",
		},
		{
			last:   `^(?:[\w.]+\.)?LocalEntryNotFoundError`,
			reason: "the profile is not laid out where Vidur looks for it",
		},
		{
			last:   `^ValueError: \[BaseModelConfig\] Invalid name: (.*)$`,
			reason: "this Vidur does not know the model $1",
		},
		{
			last:   `^ValueError: \[BaseDeviceSKUConfig\] Invalid type string: (.*)$`,
			reason: "this Vidur does not know the card $1",
		},
		{
			last:   `^ValueError: \[BaseNodeSKUConfig\] Invalid type string: (.*)$`,
			reason: "this Vidur does not know the kind of node $1",
		},
		{
			last: `^KeyError: (\(.*\))$`, within: `execution_time_predictor`,
			reason: "a batch lies outside Vidur's tables of predictions, at $1",
		},
		{
			last: `^(?:FileNotFoundError: .*|KeyError: 'Date'|TypeError: Can only string multiply by an integer\.|(?:[\w.]+\.)?IntCastingNaNError: .*)$`, within: `trace_replay_request_generator`,
			reason: "Vidur cannot read the trace that it was given",
		},
		{
			last: `unrecognized arguments: (.*)$`, trouble: true,
			reason: "this Vidur does not know the arguments $1: it is another version than its help made believe",
		},
		{
			last: `^(?:EOFError: Compressed file ended|_pickle\.UnpicklingError|(?:[\w.]+\.)?LZMAError)`, trouble: true,
			reason: "the trained predictors are damaged; remove their folder, and they are trained again",
		},
		{
			last: `(?:No space left on device|Disk quota exceeded|^MemoryError|^OSError|^PermissionError)`, trouble: true,
			reason: "the machine has no room for it",
		},
		{
			last: `^(?:ModuleNotFoundError|ImportError)`, trouble: true,
			reason: "the interpreter lacks what Vidur needs",
		},
		{
			last:   `plotly_get_chrome`,
			reason: "Vidur was asked for plots, which need Chrome",
		},
	}
}

// explain says in words why Vidur ended with a code other than 0: a [Crash],
// or a [Trouble]. What is not known is quoted.
func explain(code int, stderr string) error {
	last := lastLine(stderr)
	if code < 0 || code > 128 {
		return &Trouble{fmt.Sprintf("Vidur was killed%s; if the machine ran out of memory, run fewer things beside it", quoted(last))}
	}
	for _, f := range failures() {
		if f.within != "" && !regexp.MustCompile(f.within).MatchString(stderr) {
			continue
		}
		re := regexp.MustCompile(f.last)
		m := re.FindStringSubmatchIndex(last)
		if m == nil {
			continue
		}
		reason := string(re.ExpandString(nil, f.reason, last, m)) + quoted(last)
		if f.trouble {
			return &Trouble{reason}
		}
		return &Crash{reason}
	}
	return &Crash{fmt.Sprintf("Vidur ended with exit code %d%s", code, quoted(last))}
}

// lastLine is the last line of text that says something.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// quoted appends a line to a sentence, shortened.
func quoted(line string) string {
	const most = 200
	if line == "" {
		return " (it wrote nothing to stderr)"
	}
	if len(line) > most {
		line = line[:most] + "..."
	}
	return fmt.Sprintf(" (its last line: %s)", line)
}
