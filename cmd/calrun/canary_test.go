package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"calrun/cmd/calrun/cli"
	"calrun/pipeline"
	"calrun/steps"
)

// The canary is a secret that everything tries to give away: a program by its
// stderr, result and files, a step by a panic, an engine by the body of a 401.
// It must not be found in any file below .calrun, nor in any stream, in no
// spelling, not even a piece of it.
const canary = `sk-CANARY+"9f/Zq'ä&7Wm2Xt4Lr8`

// piece is the length in bytes of the pieces of the canary that are looked
// for: whoever shows nine bytes of it shows one of them.
const piece = 5

func TestCanary(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		// 200 bytes of it are quoted: the key stands across that border.
		fmt.Fprintf(w, "%s I do not know %s, sent as %q", strings.Repeat("x", 160), r.Header.Get("Authorization"), r.Header.Get("Authorization"))
	}))
	defer echo.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plan.yaml": strings.ReplaceAll(canaryPlan, "ENGINE", echo.URL), "leak.sh": leakScript, "garbage.sh": garbageScript,
		"token.txt": canary + "\n", "sub.yaml": "command: [sh, leak.sh]\nsecrets: {TOKEN: {env: CANARY_TOKEN}}\nsecret_env: {TOKEN: {file: token.txt}}\nresult: {said: string, deep: \"[string]\", table: file, argv: bool}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CALRUN_LOCKS", t.TempDir())
	plan := filepath.Join(dir, "plan.yaml")
	store := "--dir=" + filepath.Join(dir, ".calrun")
	calrun := func(want int, args ...string) string {
		t.Helper()
		var out, err bytes.Buffer
		kinds := append(steps.Builtin(), pipeline.Kind{
			Name: "panicky", Doc: "Panics.", Version: 1, Repeat: pipeline.Measured, New: func() pipeline.Step { return &panicky{} }, Result: struct{}{},
		})
		code := cli.Main(cli.Process{Args: args, In: strings.NewReader(""), Out: &out, Err: &err, Getenv: os.Getenv}, kinds...)
		if code != want {
			t.Fatalf("%v ends with %d, want %d:\n%s%s", args, code, want, out.String(), err.String())
		}
		noCanary(t, fmt.Sprint(args, " stdout"), out.Bytes())
		noCanary(t, fmt.Sprint(args, " stderr"), err.Bytes())
		return out.String() + err.String()
	}

	if said := calrun(2, "run", plan, store); !strings.Contains(said, "CANARY_TOKEN") {
		t.Errorf("a run without the variable does not name it: %s", said)
	}
	if said := calrun(2, "run", plan, store, "--input", "token="+canary); !strings.Contains(said, "@env:NAME") {
		t.Errorf("a secret on the command line is not refused with advice: %s", said)
	}
	t.Setenv("CANARY_TOKEN", canary)
	said := calrun(3, "run", plan, store)
	for _, want := range []string{"panicked", "HTTP 401", "stdout is not one JSON object", "a secret was written into a file", "the result has a secret in it"} {
		if !strings.Contains(said, want) {
			t.Errorf("the run does not say %q:\n%s", want, said)
		}
	}
	doc := calrun(0, "show", store, "--json")
	if !strings.Contains(doc, `"argv": false`) || !strings.Contains(doc, `"said": "***"`) {
		t.Errorf("the result is not what the script found and said:\n%s", doc)
	}
	calrun(0, "show", store)
	calrun(0, "report", store, "-o", "-")
	calrun(0, "history", store, "--json")
	if err := os.Unsetenv("CANARY_TOKEN"); err != nil {
		t.Fatal(err)
	}
	if said := calrun(2, "resume", store); !strings.Contains(said, "CANARY_TOKEN is empty or not set") {
		t.Errorf("resume does not say what is missing: %s", said)
	}
	t.Setenv("CANARY_TOKEN", canary)
	calrun(3, "resume", store, "--json")
	calrun(3, "run", plan, store, "--json", "--input", "token=@file:"+filepath.Join(dir, "token.txt"))

	noCanaryBelow(t, filepath.Join(dir, ".calrun"))
	alone := filepath.Join(dir, "alone")
	calrun(0, "step", "exec", "--with", filepath.Join(dir, "sub.yaml"), "--out", alone)
	noCanaryBelow(t, alone)
}

// The plan itself, and a file that the run would keep, are no place for it.
func TestSecretInThePlanIsRefused(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CANARY_TOKEN", "correct-horse-battery")
	const head = "version: calrun/v1\nname: x\ninputs:\n  token: {type: secret, env: CANARY_TOKEN}\n  data: {type: file, default: data}\nsteps:\n  a:\n    uses: exec\n    with: {command: [cat, \"${{ inputs.data }}\"], secrets: {t: \"${{ inputs.token }}\"}, result: {ok: bool}"
	for _, c := range []struct{ reason, plan, data, want string }{
		{"in the plan", head + ", input: correct-horse-battery}\n", "x", "plan.yaml:9: the value of a secret stands in the plan"},
		{"in a file", head + "}\n", "my correct-horse-battery staple", "stands in " + filepath.Join(dir, "data")},
	} {
		t.Run(c.reason, func(t *testing.T) {
			for name, text := range map[string]string{"plan.yaml": c.plan, "data": c.data} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out, err bytes.Buffer
			code := cli.Main(cli.Process{Args: []string{"run", filepath.Join(dir, "plan.yaml")}, Out: &out, Err: &err}, steps.Builtin()...)
			if code != 2 || !strings.Contains(err.String(), c.want) || strings.Contains(err.String(), "correct-horse") {
				t.Errorf("exit %d: %s", code, err.String())
			}
		})
	}
}

const canaryPlan = `version: calrun/v1
name: canary
inputs:
  token: {type: secret, env: CANARY_TOKEN, doc: what nobody may see}
  filed: {type: secret, file: token.txt}
steps:
  leak:
    uses: exec
    with:
      command: [sh, leak.sh]
      secrets: {TOKEN: "${{ inputs.token }}"}
      secret_env: {TOKEN: "${{ inputs.filed }}"}
      result: {said: string, deep: "[string]", table: file, argv: bool}
  reads:
    uses: exec
    with: {command: [cat], input: "${{ steps.leak.said }}", result: {calrun: string, step: string, dir: string, input: string}}
  garbage:
    uses: exec
    with: {command: [sh, garbage.sh], secret_env: {TOKEN: "${{ inputs.token }}"}, result: {ok: bool}}
  boom:
    uses: panicky
    with: {key: "${{ inputs.token }}"}
  hardware:
    uses: hardware-run
    with: {engine: {url: "ENGINE", key: "${{ inputs.token }}"}, workload: {probes: {lengths: [[4, 2]], requests: 1}}}
`

// leakScript has the secret on stdin and in its environment, and gives it away
// wherever it can; argv says whether a command line around it has it too.
const leakScript = `doc=$(cat)
dir=$(printf %s "$doc" | sed 's/.*"dir":"\([^"]*\)".*/\1/')
echo "stdin was $doc" >&2
echo "env was $TOKEN" >&2
printf %s "$TOKEN" | base64 >&2
printf '%050d%s' 0 "$TOKEN" | base64 -w 76 >&2
printf 'Authorization: Basic %s\n' "$(printf 'me:%s' "$TOKEN" | base64 | tr -d '\n')" >&2
printf %s "$TOKEN" | od -An -v -tx1 | tr -d ' \n' >&2; echo >&2
printf 'rows,%s\n' "$TOKEN" >"$dir/table.csv"
printf '%040d%s' 0 "$TOKEN" | base64 -w 64 >>"$dir/table.csv"
printf '%s' "$doc" >"$dir/not-an-artefact.json"
argv=false
for p in $$ $PPID; do
  case "$(tr '\0' ' ' <"/proc/$p/cmdline")" in *CANARY*9f*) argv=true;; esac
done
q=$(printf %s "$TOKEN" | sed 's/"/\\"/g')
printf '{"said": "%s", "deep": ["a", "%s b"], "table": "table.csv", "argv": %s}' "$q" "$q" "$argv"
`

// garbageScript prints what is quoted up to its 80th byte, which is in the
// middle of the secret.
const garbageScript = `printf '%060d%s' 0 "$TOKEN"`

type panicky struct {
	Key pipeline.Secret `yaml:"key"`
}

func (p *panicky) Run(_ context.Context, rt *pipeline.Runtime) (any, error) {
	rt.Progress(1, 2, "with "+p.Key.Reveal())
	rt.Log().Info().Str("key", p.Key.Reveal()).Msg("about to panic")
	panic(fmt.Sprintf("%v %+v %#v: %s", p.Key, p, p.Key, p.Key.Reveal()))
}

// noCanary looks with its own eyes: for the text, and in whatever decodes from
// base64, hex or URLs.
func noCanary(t *testing.T, where string, data []byte) {
	t.Helper()
	look := func(how string, b []byte) {
		for i := 0; i+piece <= len(canary); i += piece {
			if bytes.Contains(b, []byte(canary[i:i+piece])) {
				t.Errorf("%s holds %q of the canary %s", where, canary[i:i+piece], how)
				return
			}
		}
	}
	look("as it is", data)
	plain := strings.NewReplacer(`\\\"`, `"`, `\"`, `"`, `&#34;`, `"`, `&#39;`, "'", `&amp;`, "&", `\u0026`, "&", `\u00e4`, "ä", `\/`, "/").Replace(string(data))
	look("escaped", []byte(plain))
	if un, err := url.PathUnescape(regexp.MustCompile(`%([^0-9a-fA-F]|$)`).ReplaceAllString(plain, "%25$1")); err == nil {
		look("in a URL", []byte(un))
	}
	for _, word := range regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`).FindAllString(string(data), -1) {
		word = strings.NewReplacer("-", "+", "_", "/").Replace(word)
		for from := range 4 {
			w := word[min(from, len(word)):]
			if b, err := base64.RawStdEncoding.DecodeString(w[:len(w)/4*4]); err == nil {
				look("in base64", b)
			}
		}
	}
	for _, word := range regexp.MustCompile(`[0-9a-fA-F]{18,}`).FindAllString(string(data), -1) {
		for from := range 2 {
			w := word[from:]
			if b, err := hex.DecodeString(w[:len(w)/2*2]); err == nil {
				look("in hex", b)
			}
		}
	}
}

func noCanaryBelow(t *testing.T, root string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) || e.IsDir() {
			return nil
		}
		files++
		noCanary(t, "the name of a file", []byte(path))
		data, err := os.ReadFile(path)
		noCanary(t, path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files looked through", files)
}

// The oracle must see what it looks for.
func TestCanaryIsSeen(t *testing.T) {
	for _, text := range []string{
		canary, canary[5:14], base64.StdEncoding.EncodeToString([]byte("u:" + canary)), hex.EncodeToString([]byte(canary)), fmt.Sprintf("%q", canary),
	} {
		seen := &testing.T{}
		noCanary(seen, "x", []byte(text))
		if !seen.Failed() {
			t.Errorf("not seen in %s", text)
		}
	}
}
