package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"calrun/internal/selftest"
	"calrun/pipeline"
	"calrun/steps"

	"github.com/spf13/cobra"
)

// selftestVerb says what this machine can measure.
func (a *app) selftestVerb() *cobra.Command {
	opt := selftest.Options{Limit: steps.DefaultLateness}
	var rates []int
	c := &cobra.Command{
		Use:   "selftest",
		Short: "Say what this machine can measure",
		Long: `Drive an emulated engine, whose true times are known, with calrun's load generator
at a few rates, and say up to which rate the generator sends on time, what timing
error it adds to TTFT, TPOT and E2E, and which differences a gate over measurements
from this machine can therefore decide.

The emulated engine runs in the same process and takes its cores from the generator:
all errors are upper bounds of what the generator adds to an engine elsewhere. The
network to that engine is not part of it.

Exit code 4: the machine is too busy, or too slow, for anything to be said.`,
		Example: `  calrun selftest
  calrun selftest --rps 50,200,400 --time 30s --json`,
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, rps := range rates {
				opt.Rates = append(opt.Rates, float64(rps))
			}
			if err := checkRates(opt); err != nil {
				return err
			}
			show := newProgress(a.Err, a.look(a.Err))
			show.begin("selftest")
			tell := show.of("selftest")
			opt.Progress = func(done, total time.Duration, note string) { tell(done.Seconds(), total.Seconds(), note) }
			r, err := selftest.Run(c.Context(), opt)
			show.close()
			if err != nil {
				return fmt.Errorf("selftest: %w", err)
			}
			if len(r.Reasons) > 0 {
				a.code = pipeline.ExitInconclusive
			}
			if a.json {
				return a.print(struct {
					Calrun string `json:"calrun"`
					Exit   int    `json:"exit"`
					*selftest.Result
				}{"v1", a.code, r})
			}
			return a.showSelftest(r)
		},
	}
	c.Flags().IntSliceVar(&rates, "rps", []int{10, 50, 100, 200}, "rates that are tried, in requests per second, ascending")
	c.Flags().DurationVar(&opt.Time, "time", 16*time.Second, "how long all rates take together")
	return c
}

// checkRates holds the flags to what can be tried.
func checkRates(opt selftest.Options) error {
	const most, least = 10 * time.Minute, time.Second // of all; of a rate
	switch n := len(opt.Rates); {
	case n == 0 || !slices.IsSorted(opt.Rates) || opt.Rates[0] <= 0:
		return usageError{fmt.Errorf("--rps %v: give rates above 0 in ascending order, as 10,50,100", opt.Rates)}
	case opt.Time > most || opt.Time < time.Duration(n)*least:
		return usageError{fmt.Errorf("--time %v: %d rates need %v to %v", opt.Time, n, time.Duration(n)*least, most)}
	case opt.Requests(opt.Rates[n-1]) > selftest.MostRequests:
		return usageError{fmt.Errorf("--rps %g in --time %v is more than the %d requests of a rate that can be told apart; shorten the time", opt.Rates[n-1], opt.Time, selftest.MostRequests)}
	}
	return nil
}

func (a *app) showSelftest(r *selftest.Result) error {
	m := r.Machine
	machine := fmt.Sprintf("%d cores", m.Cores)
	if m.CPU != "" {
		machine = m.CPU + ", " + machine
	}
	if m.Load != nil {
		machine += fmt.Sprintf(", load %.2g", *m.Load)
	}
	if m.Others != nil {
		machine += fmt.Sprintf("; others took %.0f %% of their time meanwhile", 100**m.Others)
	}
	stamps := "none: they are the return of the read"
	if last := r.Rates[len(r.Rates)-1].Generator; last.Stamps != "read" {
		stamps = fmt.Sprintf("%s; the read returns %s ms later at P50, %s at P99 (%g requests/s)", last.Stamps, millis(last.Lag.P50.Seconds()), millis(last.Lag.P99.Seconds()), r.Rates[len(r.Rates)-1].RPS)
	}
	err := columns(a.Out, [][]string{
		{"machine", machine},
		{"clock", fmt.Sprintf("steps of %.0f ns, a reading takes %.0f ns", 1e9*r.Clock.Step, 1e9*r.Clock.Read)},
		{"timers", fmt.Sprintf("a sleep of 1 ms ends %s ms late at P50, %s at P99, %s at most", millis(r.Clock.Sleep.P50), millis(r.Clock.Sleep.P99), millis(r.Clock.Sleep.Max))},
		{"receive stamps", stamps},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Out, "\nmeasured - true, ms, P1 / P50 / P99 of the requests")
	rows := [][]string{{"rate", "requests", "in flight", "late P50 / P99 / max", "TTFT", "TPOT", "E2E", "cores"}}
	for _, rate := range r.Rates {
		g, e := rate.Generator, rate.Error
		rows = append(rows, []string{
			fmt.Sprintf("%g/s", rate.RPS), fmt.Sprint(g.Completed), fmt.Sprint(g.Peak),
			three(g.Late.P50.Seconds(), g.Late.P99.Seconds(), g.Late.Max.Seconds()),
			signed(e.TTFT), signed(e.TPOT), signed(e.E2E), fmt.Sprintf("%.0f %%", 100*g.Share),
		})
	}
	if err := columns(a.Out, rows); err != nil {
		return err
	}
	for _, rate := range r.Rates {
		if rate.Trouble != "" {
			fmt.Fprintf(a.Out, "%g/s not kept: %s\n", rate.RPS, rate.Trouble)
		}
	}
	return a.showVerdict(r)
}

// gateP50 and gateP99 are the tolerances that a report takes where a gate has
// none, and share is how much of them the machine's own error may be.
const gateP50, gateP99, share = 0.05, 0.15, 0.1

func (a *app) showVerdict(r *selftest.Result) error {
	fmt.Fprintln(a.Out)
	if r.Adds != nil {
		rows := [][]string{{"", "TTFT", "TPOT", "E2E"}}
		add := func(name string, form string, of func(selftest.Bound) float64) {
			row := []string{name}
			for _, b := range []selftest.Bound{r.Adds.TTFT, r.Adds.TPOT, r.Adds.E2E} {
				row = append(row, fmt.Sprintf(form, millis(of(b))))
			}
			rows = append(rows, row)
		}
		add("off by at most, half of the requests", "%s ms", func(b selftest.Bound) float64 { return b.P50 })
		add("off by at most, 99 % of them", "%s ms", func(b selftest.Bound) float64 { return b.P99 })
		add("a gate of 5 % at P50 is good", "from %s ms on", func(b selftest.Bound) float64 { return b.P50 / (gateP50 * share) })
		add("a gate of 15 % at P99 is good", "from %s ms on", func(b selftest.Bound) float64 { return b.P99 / (gateP99 * share) })
		if err := columns(a.Out, rows); err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "(over the rates that were kept; from there on the error is at most %.0f %% of the tolerance.\n"+
			"The emulated engine took its cores from the same machine: these are upper bounds.)\n\n", 100*share)
	}
	switch {
	case len(r.Reasons) > 0:
		fmt.Fprintf(a.Out, "INCONCLUSIVE  %s\n", strings.Join(r.Reasons, "; "))
	case *r.Highest == r.Rates[len(r.Rates)-1].RPS:
		fmt.Fprintf(a.Out, "PASS  Good up to %g requests/s, the highest rate tried: sent - due stayed below %s ms at P99.\n", *r.Highest, millis(r.Limit))
	default:
		fmt.Fprintf(a.Out, "PASS  Good up to %g requests/s: sent - due stayed below %s ms at P99. The next rate tried was not kept.\n", *r.Highest, millis(r.Limit))
	}
	return nil
}

// millis is seconds in milliseconds, to two digits.
func millis(s float64) string {
	ms := 1e3 * s
	if ms >= 100 || ms <= -100 {
		return fmt.Sprintf("%.0f", ms)
	}
	return fmt.Sprintf("%.2g", ms)
}

func three(a, b, c float64) string { return millis(a) + " / " + millis(b) + " / " + millis(c) }

func signed(d selftest.Deviation) string {
	plus := func(s float64) string {
		if s > 0 {
			return "+" + millis(s)
		}
		return millis(s)
	}
	return plus(d.P1) + " / " + plus(d.P50) + " / " + plus(d.P99)
}
