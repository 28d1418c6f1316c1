package compare

import "math"

// Result is the comparison as assertions see it. The names at its top level
// are over the sweep's stable points that no parameter was fitted on; the
// other groups stand below their own names.
type Result struct {
	Group
	Points     map[string]*Point `json:"points" doc:"every point by its name; a point that was fitted on has its numbers under fitted.points"`
	Probes     Group             `json:"probes" doc:"the probes: one request at a time on an idle engine"`
	Replay     Group             `json:"replay" doc:"the replayed trace"`
	Fitted     Fitted            `json:"fitted" doc:"points that the simulator's parameters were fitted on"`
	Knee       Knee              `json:"knee" doc:"the rate at which P99 E2E leaves the ground"`
	Stable     []string          `json:"stable" doc:"sweep points at which the engine kept up, by rate"`
	Overloaded []string          `json:"overloaded" doc:"points at which the engine did not keep up; compared by throughput only unless scope is all"`
	FittedOn   []string          `json:"fitted_on" doc:"points that the simulator's parameters were fitted on"`
	Inputs     Inputs            `json:"inputs" doc:"whether both sides were given the same requests"`
}

// Group holds errors over the points of one group.
type Group struct {
	TTFT       Metric   `json:"ttft" doc:"time to first token, from due"`
	TPOT       Metric   `json:"tpot" doc:"time per output token after the first"`
	E2E        Metric   `json:"e2e" doc:"time to last token, from due"`
	Throughput Errors   `json:"throughput" doc:"output tokens a second in the steady part, overloaded points included"`
	Requests   Requests `json:"requests" doc:"request by request instead of quantile by quantile"`
	Cells      []Cell   `json:"cells" doc:"all cells of the group, sorted by rate, metric and statistic"`
}

// Metric holds the errors of one metric over the points of a group.
type Metric struct {
	P50  Errors   `json:"p50" doc:"of the median"`
	P90  Errors   `json:"p90" doc:"of the 90th percentile"`
	P95  Errors   `json:"p95" doc:"of the 95th percentile"`
	P99  Errors   `json:"p99" doc:"of the 99th percentile"`
	Mean Errors   `json:"mean" doc:"of the mean"`
	KS   *float64 `json:"ks" doc:"largest distance of the two distribution functions, mean over points"`
	W1   *float64 `json:"w1" doc:"mean distance of quantiles over the measured mean, mean over points"`
}

// Errors are relative errors (S−R)/R over several points.
type Errors struct {
	MAPE  *float64 `json:"mape" doc:"mean absolute relative error over points"`
	Worst *float64 `json:"worst" doc:"largest absolute relative error of a point"`
	Bias  *float64 `json:"bias" doc:"mean signed relative error; above 0 the simulator is too slow (of throughput: too fast)"`
}

// Requests holds errors request by request.
type Requests struct {
	TTFT Paired `json:"ttft" doc:"of the time to first token"`
	TPOT Paired `json:"tpot" doc:"of the time per output token"`
	E2E  Paired `json:"e2e" doc:"of the time to last token"`
}

// Paired is the error over pairs of requests; over points it is the mean of
// theirs.
type Paired struct {
	MAPE        *float64 `json:"mape" doc:"mean over requests of |S−R|/R"`
	Correlation *float64 `json:"correlation" doc:"Pearson's, between simulated and measured requests"`
}

// Cell is one number of one point on both sides. Times are seconds.
type Cell struct {
	Point        string   `json:"point" doc:"name of the point"`
	Metric       string   `json:"metric" doc:"ttft, tpot, e2e or throughput"`
	Stat         string   `json:"stat" doc:"p50, p90, p95, p99, mean or rate"`
	Measured     *float64 `json:"measured" doc:"seconds; of throughput tokens a second"`
	MeasuredLow  *float64 `json:"measured_low" doc:"lower end of the distribution-free 95 % interval of a quantile"`
	MeasuredHigh *float64 `json:"measured_high" doc:"upper end of it"`
	Simulated    *float64 `json:"simulated" doc:"seconds; of throughput tokens a second"`
	Bias         *float64 `json:"bias" doc:"signed error (S−R)/R"`
	APE          *float64 `json:"ape" doc:"|bias|"`
	Low          *float64 `json:"low" doc:"lower end of the 95 % interval of bias"`
	High         *float64 `json:"high" doc:"upper end of the 95 % interval of bias"`
	N            int      `json:"n" doc:"pairs of requests, over all seeds"`
	Blocks       int      `json:"blocks" doc:"independent blocks among them"`
	Doubt        string   `json:"doubt" doc:"why the cell is not judged, empty if it is"`
}

// Point is one operating point, compared.
type Point struct {
	Group      string      `json:"group" doc:"probe, sweep or replay"`
	Rate       float64     `json:"rate_rps" doc:"nominal arrivals per second, 0 for probes"`
	State      string      `json:"state" doc:"of the engine: stable, overloaded or invalid"`
	Reason     string      `json:"reason" doc:"why it is not stable"`
	Simulator  string      `json:"simulator" doc:"state of the simulator at the point: ok, crashed, skipped or overloaded"`
	Fitted     bool        `json:"fitted" doc:"parameters were fitted on the point; its numbers stand under fitted.points"`
	Noise      string      `json:"noise" doc:"a mark on what the judgement rests on, empty if nothing is to be marked"`
	Drain      bool        `json:"drain" doc:"the engine was overloaded and waits grew: TTFT says how fast its queue drains"`
	Seeds      int         `json:"seeds" doc:"seeds or repeats compared"`
	N          int         `json:"n" doc:"requests, over all seeds"`
	Failed     int         `json:"failed" doc:"requests that failed on the engine, left out of every other number"`
	Unfinished int         `json:"unfinished" doc:"requests that the simulator did not finish, counted at the end of its run"`
	Rho        *float64    `json:"rho" doc:"offered token rate over the best one sustained in the sweep; null if no point saturates"`
	TTFT       PointMetric `json:"ttft" doc:"time to first token, from due"`
	TPOT       PointMetric `json:"tpot" doc:"time per output token after the first"`
	E2E        PointMetric `json:"e2e" doc:"time to last token, from due"`
	Throughput Cell        `json:"throughput" doc:"output tokens a second in the steady part"`
	WholeRun   WholeRun    `json:"whole_run" doc:"throughput over the whole run, ramps included"`
	Overhead   Overhead    `json:"overhead" doc:"scheduler overhead: TTFT beyond that of an idle engine"`
}

// PointMetric is one metric at one point.
type PointMetric struct {
	P50      Cell     `json:"p50" doc:"median"`
	P90      Cell     `json:"p90" doc:"90th percentile"`
	P95      Cell     `json:"p95" doc:"95th percentile"`
	P99      Cell     `json:"p99" doc:"99th percentile"`
	Mean     Cell     `json:"mean" doc:"mean"`
	KS       *float64 `json:"ks" doc:"largest distance of the two distribution functions"`
	W1       *float64 `json:"w1" doc:"mean distance of quantiles over the measured mean"`
	Requests Paired   `json:"requests" doc:"request by request"`
	Excluded int      `json:"excluded" doc:"completed requests for which the metric is undefined (TPOT of one token)"`
	Block    int      `json:"block" doc:"requests in one independent block: the integrated autocorrelation time of ln(S/R)"`
}

// WholeRun is throughput from the first arrival to the last token.
type WholeRun struct {
	MeasuredTokens    *float64 `json:"measured_tokens_per_s" doc:"output tokens a second, engine"`
	SimulatedTokens   *float64 `json:"simulated_tokens_per_s" doc:"output tokens a second, simulator"`
	MeasuredRequests  *float64 `json:"measured_requests_per_s" doc:"completed requests a second, engine"`
	SimulatedRequests *float64 `json:"simulated_requests_per_s" doc:"completed requests a second, simulator"`
}

// Overhead is TTFT minus the probes' median TTFT, interpolated to the
// request's prompt length. Seconds.
type Overhead struct {
	MeasuredP50   *float64 `json:"measured_p50_s" doc:"median, engine"`
	MeasuredP99   *float64 `json:"measured_p99_s" doc:"99th percentile, engine"`
	SimulatedP50  *float64 `json:"simulated_p50_s" doc:"median, simulator"`
	SimulatedP99  *float64 `json:"simulated_p99_s" doc:"99th percentile, simulator"`
	DifferenceP50 *float64 `json:"difference_p50_s" doc:"simulated minus measured median"`
	Without       *float64 `json:"without" doc:"share of requests whose prompt lies outside the probed lengths"`
}

// Fitted holds what was fitted on, apart from what was held out.
type Fitted struct {
	Group
	Points map[string]*Point `json:"points" doc:"the fitted points by name"`
	Probes Group             `json:"probes" doc:"fitted probes"`
	Replay Group             `json:"replay" doc:"the replay, if it was fitted on"`
	Knee   Knee              `json:"knee" doc:"the knee, if a rate that it uses was fitted on"`
}

// Knee is the lowest rate at which P99 E2E exceeds 1.5 times its value at the
// lowest rate, first crossing that stays crossed. Requests a second.
type Knee struct {
	Measured  *float64 `json:"measured" doc:"rate, engine"`
	Simulated *float64 `json:"simulated" doc:"rate, simulator"`
	Error     *float64 `json:"error" doc:"|S−R|/R"`
	Bias      *float64 `json:"bias" doc:"(S−R)/R"`
	State     string   `json:"state" doc:"bracketed; or below or above: the side that is not bracketed has its knee outside the rates; none: no sweep"`
	Reason    string   `json:"reason" doc:"what to do when it is not bracketed"`
}

// Inputs says whether both sides were given the same requests, over all
// points. Requests that the engine failed are not checked for output tokens.
type Inputs struct {
	Same    bool    `json:"same" doc:"arrivals and token counts agree for every request"`
	Checked int     `json:"checked" doc:"pairs of requests"`
	Due     int     `json:"due" doc:"pairs whose arrivals differ by more than a microsecond"`
	Prompt  int     `json:"prompt" doc:"pairs whose prompt tokens differ"`
	Output  int     `json:"output" doc:"pairs whose output tokens differ"`
	Cached  float64 `json:"cached" doc:"share of prompt tokens that the engine served from its prefix cache"`
	Failed  int     `json:"failed" doc:"requests that failed on the engine"`
}

// number is a result's number: nil where it is not one.
func number(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
