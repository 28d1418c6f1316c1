package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"calrun/pipeline"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// exportVerb writes a plan as the manifest of a workflow engine.
func (a *app) exportVerb() *cobra.Command {
	var inputs []string
	var opt argoOptions
	c := &cobra.Command{
		Use:   "export argo PLAN [--image IMAGE] [--repo URL]",
		Short: "Write a manifest that runs a plan under another workflow engine",
		Long: `Write a Workflow of Argo that runs the plan in one pod. A plan is one node and not
a node for each of its steps: its gates and routes decide while it runs what runs
next, and a static graph cannot hold that. The .calrun folder lies on a volume of
the workflow, so that a retried pod resumes: what was measured is not measured
again. Inputs are parameters of the workflow, secret ones come from a Kubernetes
secret of the workflow's name, locks of steps are its mutexes.

The node succeeds when the verdict is pass. Its outputs are the parameters
verdict and exit and the artifacts document (calrun schema run) and report.
Without --repo the plan travels in the manifest, and files that it names must be
in the image, at the paths that it names.`,
		Example: `  calrun export argo plan.yaml --image registry.example/calrun:1 | argo submit -`,
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, given []string) error {
			if given[0] != "argo" {
				return usageError{fmt.Errorf("there is no format %q%s; there is argo", given[0], didYouMean(given[0], []string{"argo"}))}
			}
			plan, err := a.load(given[1], inputs, false)
			if err != nil {
				return err
			}
			manifest, err := argo(plan, given[1], opt)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(manifest)
			}
			enc := yaml.NewEncoder(a.Out)
			enc.SetIndent(2)
			return errors.Join(enc.Encode(manifest), enc.Close())
		},
	}
	c.Flags().StringArrayVar(&inputs, "input", nil, "a value for an input of the plan, as name=value: the default of the workflow's parameter")
	c.Flags().StringVar(&opt.image, "image", "calrun:latest", "image with calrun and what the plan's steps need")
	c.Flags().StringVar(&opt.repo, "repo", "", "git repository with the plan, at the path given here; without one the plan is in the manifest")
	c.Flags().StringVar(&opt.revision, "revision", "", "commit, tag or branch of --repo")
	c.Flags().StringVar(&opt.storage, "storage", "10Gi", "size of the volume for .calrun")
	c.Flags().IntVar(&opt.retries, "retries", 2, "how often a pod that died, or a step that could not work, is tried again")
	return c
}

type argoOptions struct {
	image, repo, revision, storage string
	retries                        int
}

// fields is a mapping of a manifest in reading order.
type fields []any // name, value, name, value, ...

// MarshalYAML keeps the order.
func (f fields) MarshalYAML() (any, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(f); i += 2 {
		var k, v yaml.Node
		if err := errors.Join(k.Encode(f[i]), v.Encode(f[i+1])); err != nil {
			return nil, err
		}
		out.Content = append(out.Content, &k, &v)
	}
	return out, nil
}

// MarshalJSON is the same for --json.
func (f fields) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(f); i += 2 {
		m[f[i].(string)] = f[i+1]
	}
	return json.Marshal(m)
}

// Where things lie in the pod.
const (
	argoWork = "/calrun/work" // the volume
	argoPlan = "/calrun/plan"
)

// argo is the manifest. An argument of Argo is text: what an input is, calrun
// reads from it as from its own command line.
func argo(plan *pipeline.Plan, path string, opt argoOptions) (fields, error) {
	name := dnsName(plan.Name)
	var params, env []any
	var command strings.Builder
	for _, in := range plan.Inputs {
		variable := "CALRUN_INPUT_" + in.Name
		if in.Type == "secret" {
			env = append(env, fields{"name", variable, "valueFrom", fields{"secretKeyRef", fields{"name", name, "key", in.Name}}})
			fmt.Fprintf(&command, " --input %s=@env:%s", in.Name, variable)
			continue
		}
		p := fields{"name", in.Name}
		if in.Doc != "" {
			p = append(p, "description", in.Doc)
		}
		if in.Value != nil {
			p = append(p, "value", plainInput(in.Value))
		}
		params = append(params, p)
		// Through the environment: text put into a script could be more than text.
		env = append(env, fields{"name", variable, "value", "{{workflow.parameters." + in.Name + "}}"})
		fmt.Fprintf(&command, ` --input %s="$%s"`, in.Name, variable)
	}
	file := argoPlan + "/" + filepath.Base(path)
	var source []any
	unpack := ""
	if opt.repo == "" {
		// Not as text: what a plan has in ${{ }}, Argo would take for its own.
		env = append(env, fields{"name", "CALRUN_PLAN", "value", base64.StdEncoding.EncodeToString(plan.Source)})
		unpack = fmt.Sprintf("mkdir -p %s\nprintf %%s \"$CALRUN_PLAN\" | base64 -d >%s\n", argoPlan, quoted(file))
	} else {
		if !filepath.IsLocal(path) {
			return nil, usageError{fmt.Errorf("%s is not below this folder; with --repo the plan's path is its path in the repository", path)}
		}
		file = argoPlan + "/" + filepath.ToSlash(filepath.Clean(path))
		git := fields{"repo", opt.repo}
		if opt.revision != "" {
			git = append(git, "revision", opt.revision)
		}
		source = []any{fields{"name", "plan", "path", argoPlan, "git", git}}
	}
	script := unpack + fmt.Sprintf(`cd %s
store="--dir=%s/.calrun"
if [ -d .calrun/runs ]; then
  calrun resume "$store" --json >document.json || [ $? -ne 2 ] || calrun show "$store" --json >document.json
else
  calrun run %s "$store"%s --json >document.json
fi
code=$(sed -n 's/^  "exit": \([0-9]*\),*$/\1/p' document.json)
echo "$code" >exit
sed -n 's/^  "verdict": "\(.*\)",$/\1/p' document.json >verdict
calrun report "$store" -o report.html >&2
exit "$code"
`, argoWork, argoWork, quoted(file), command.String())
	container := fields{"image", opt.image, "command", []string{"sh", "-c"}, "args", []string{script}}
	if env != nil {
		container = append(container, "env", env)
	}
	container = append(container, "volumeMounts", []any{fields{"name", "work", "mountPath", argoWork}})
	spec := fields{"entrypoint", "plan"}
	if params != nil {
		spec = append(spec, "arguments", fields{"parameters", params})
	}
	if locks := planLocks(plan); locks != nil {
		spec = append(spec, "synchronization", fields{"mutexes", locks})
	}
	template := fields{"name", "plan"}
	if source != nil {
		template = append(template, "inputs", fields{"artifacts", source})
	}
	spec = append(spec,
		"volumeClaimTemplates", []any{fields{
			"metadata",
			fields{"name", "work"},
			"spec",
			fields{"accessModes", []string{"ReadWriteOnce"}, "resources", fields{"requests", fields{"storage", opt.storage}}},
		}},
		"templates", []any{append(template,
			// A verdict is no reason to try again: only an error (3) is, and a pod that died.
			"retryStrategy", fields{"limit", fmt.Sprint(opt.retries), "retryPolicy", "Always", "expression", `!(lastRetry.exitCode in ["1", "2", "4"])`},
			"container", container,
			"outputs", fields{
				"parameters",
				[]any{outputParameter("verdict"), outputParameter("exit")},
				"artifacts",
				[]any{outputArtifact("document", "document.json"), outputArtifact("report", "report.html")},
			})})
	return fields{
		"apiVersion", "argoproj.io/v1alpha1", "kind", "Workflow",
		"metadata",
		fields{"generateName", name + "-"},
		"spec", spec,
	}, nil
}

func outputParameter(name string) fields {
	return fields{"name", name, "valueFrom", fields{"path", argoWork + "/" + name, "default", ""}}
}

func outputArtifact(name, file string) fields {
	return fields{"name", name, "path", argoWork + "/" + file, "optional", true, "archive", fields{"none", fields{}}}
}

// planLocks are the locks of all steps, as mutexes of the workflow: two
// workflows on two nodes do not see each other's files.
func planLocks(plan *pipeline.Plan) []any {
	var names []string
	for _, d := range append(slices.Clone(plan.Steps), plan.Remedies...) {
		names = append(names, d.Locks...)
	}
	slices.Sort(names)
	var out []any
	for _, name := range slices.Compact(names) {
		out = append(out, fields{"name", name})
	}
	return out
}

// plainInput is the value of an input as a command line gives it.
func plainInput(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// dnsName is a name that Kubernetes takes.
func dnsName(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteRune('-')
		}
	}
	return strings.Trim(b.String()[:min(b.Len(), 50)], "-")
}

// quoted is a word for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
