package vidur

import (
	"strconv"
	"strings"
)

// Prefixes of Vidur's flags, so spelled.
const (
	forest  = "random_forrest_execution_time_predictor_config_"
	replay  = "trace_request_generator_config_"
	metrics = "metrics_config_"
	replica = "replica_config_"
	kvCache = "cache_config_"
)

// traceDate is the day that all rows of a trace are on: the registry's
// dialect drops rows of another.
const traceDate = "2023-08-21"

// Paths are the files and folders of one run of Vidur.
type Paths struct {
	Trace  string // CSV in the dialect's columns
	Output string // Vidur makes a folder named by the time of day below it
	Cache  string // trained predictors
	Sheets string // folder of the profile's copy; only the repository's dialect reads it
	// Names of the datasets below Cache; only the registry's dialect reads them.
	Compute, Network string
}

// Args is what follows `python -m vidur.main`.
func (s Setup) Args(d Dialect, p Paths) []string {
	var a args
	a.set("seed", s.Seed)
	a.set(replica+"model_name", s.Model)
	a.set(replica+"device", s.Device)
	a.set(replica+"network_device", s.Node)
	a.set(replica+"tensor_parallel_size", s.TP)
	a.set(replica+"num_pipeline_stages", 1)
	switch d {
	case Registry:
		s.registryArgs(&a, p)
	case Repository:
		s.repositoryArgs(&a, p)
	}
	return a
}

func (s Setup) registryArgs(a *args, p Paths) {
	a.set(kvCache+"block_size", s.BlockSize)
	if s.Blocks > 0 {
		a.set(kvCache+"num_blocks", s.Blocks)
	}
	a.set(kvCache+"memory_margin_fraction", s.Margin)
	a.set(kvCache+"watermark_blocks_fraction", s.Watermark)
	a.set("request_generator_config_type", "trace_replay")
	a.set(replay+"date", traceDate)
	s.replayArgs(a)
	a.set("execution_time_predictor_config_type", "random_forrest")
	a.set(forest+"model_profiling_dataset", p.Compute)
	a.set(forest+"network_profiling_dataset", p.Network)
	s.forestArgs(a)
	a.set(forest+"cache_dir", p.Cache)
	a.set(metrics+"output_dir", p.Output)
	a.set(replay+"trace_file", p.Trace)
	a.set("replica_scheduler_config_type", string(s.Scheduler))
	s.schedulerArgs(a)
	a.on(metrics + "keep_individual_batch_metrics")
}

func (s Setup) repositoryArgs(a *args, p Paths) {
	a.set(replica+"memory_margin_fraction", s.Margin)
	a.set("request_generator_config_type", "trace_replay")
	s.replayArgs(a)
	a.set("execution_time_predictor_config_type", "random_forrest")
	a.set(forest+"compute_input_file", p.Sheets+"/"+mlpFile)
	a.set(forest+"attention_input_file", p.Sheets+"/"+attentionFile)
	a.set(forest+"all_reduce_input_file", p.Sheets+"/"+allReduceFile)
	a.set(forest+"cpu_overhead_input_file", p.Sheets+"/"+overheadFile)
	if s.Scale.Overhead > 0 {
		a.off(forest + "skip_cpu_overhead_modeling")
	} else {
		a.on(forest + "skip_cpu_overhead_modeling")
	}
	s.forestArgs(a)
	a.set(metrics+"cache_dir", p.Cache)
	a.set(metrics+"output_dir", p.Output)
	a.set(replay+"trace_file", p.Trace)
	a.set("replica_scheduler_config_type", string(s.Scheduler))
	s.schedulerArgs(a)
	own := string(s.Scheduler) + "_scheduler_config_"
	a.set(own+"block_size", s.BlockSize)
	a.set(own+"watermark_blocks_fraction", s.Watermark)
	if s.Blocks > 0 {
		a.set(own+"num_blocks", s.Blocks)
	}
	a.on(metrics + "keep_individual_batch_metrics")
}

// replayArgs keep the trace as it is: the registry's defaults scale prompts by
// 0.3 and arrivals by 0.04, and shorten what exceeds 4096 tokens.
func (s Setup) replayArgs(a *args) {
	a.set(replay+"prefill_scale_factor", 1)
	a.set(replay+"decode_scale_factor", 1)
	a.set(replay+"time_scale_factor", 1)
	a.set(replay+"max_tokens", s.Longest)
}

func (s Setup) forestArgs(a *args) {
	a.set(forest+"prediction_max_tokens_per_request", s.Limits.Tokens)
	a.set(forest+"prediction_max_prefill_chunk_size", s.Limits.Chunk)
	a.set(forest+"prediction_max_batch_size", s.Limits.Seqs)
	a.set(forest+"kv_cache_prediction_granularity", s.Limits.Granularity)
	a.set(forest+"num_estimators", trees)
	a.set(forest+"max_depth", depth)
	a.set(forest+"min_samples_split", minSplit)
	a.set(forest+"k_fold_cv_splits", folds)
	a.set(forest+"num_training_job_threads", 1) // another number is another predictor
	a.off(metrics + "store_plots")              // plots need a browser
	a.off(metrics + "enable_chrome_trace")
}

func (s Setup) schedulerArgs(a *args) {
	own := string(s.Scheduler) + "_scheduler_config_"
	a.set(own+"batch_size_cap", s.MaxSeqs)
	if s.Scheduler == Sarathi {
		a.set(own+"chunk_size", s.MaxTokens)
	} else {
		a.set(own+"max_tokens_in_batch", s.MaxTokens)
	}
}

// args is a command line to be.
type args []string

func (a *args) set(flag string, value any) {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case int:
		text = strconv.Itoa(v)
	case float64:
		text = strconv.FormatFloat(v, 'g', 12, 64) // 1 - 0.9 is 0.1, not 0.09999999999999998
	default:
		panic("vidur: a flag is a text or a number")
	}
	*a = append(*a, "--"+flag, text)
}

func (a *args) on(flag string)  { *a = append(*a, "--"+flag) }
func (a *args) off(flag string) { *a = append(*a, "--no-"+flag) }

// CommandLine is a command as a shell takes it, for people to repeat it.
func CommandLine(argv []string) string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$&;()<>|*?[]~#`") {
			out[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
