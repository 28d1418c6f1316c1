package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func knowing(t testing.TB, values ...string) *Mask {
	t.Helper()
	m := &Mask{}
	for i, v := range values {
		if err := m.Add(fmt.Sprint("s", i), v); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// awkward has something to escape for every language.
const awkward = `p"ä's/<&>\+ w%rd=?`

// Every spelling comes from the library that programs use for it, not from
// this package.
func TestEverySpellingIsMasked(t *testing.T) {
	js, err := json.Marshal(awkward)
	if err != nil {
		t.Fatal(err)
	}
	var plainJSON bytes.Buffer
	enc := json.NewEncoder(&plainJSON)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(awkward); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ reason, text string }{
		{"as it is", awkward},
		{"JSON", string(js)},
		{"JSON without HTML escapes", plainJSON.String()},
		{"JSON of Python", `"p\"\u00e4's/<&>\\+ w%rd=?"`},
		{"JSON of PHP", `"p\"\u00e4's\/<&>\\+ w%rd=?"`},
		{"%q", strconv.Quote(awkward)},
		{"%+q", strconv.QuoteToASCII(awkward)},
		{"HTML", html.EscapeString(awkward)},
		{"XML", `p&quot;ä&apos;s/&lt;&amp;&gt;\+ w%rd=?`},
		{"YAML in single quotes", "'" + strings.ReplaceAll(awkward, "'", "''") + "'"},
		{"a shell in single quotes", "'" + strings.ReplaceAll(awkward, "'", `'\''`) + "'"},
		{"a URL's query", "?k=" + url.QueryEscape(awkward)},
		{"a URL's path", "/k/" + url.PathEscape(awkward) + "/"},
		{"curl --data-urlencode", strings.ReplaceAll(url.QueryEscape(awkward), "+", "%20")},
		{"hex", hex.EncodeToString([]byte(awkward))},
		{"HEX", strings.ToUpper(hex.EncodeToString([]byte(awkward)))},
		{"base64", base64.StdEncoding.EncodeToString([]byte(awkward))},
		{"base64 for URLs", base64.RawURLEncoding.EncodeToString([]byte(awkward))},
		{"a basic Authorization header", "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+awkward))},
		{"the same, one later", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+awkward+"\n"))},
		{"the same, two later", "Basic " + base64.StdEncoding.EncodeToString([]byte("you:"+awkward+"xy"))},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := knowing(t, awkward).Text("before " + c.text + " after")
			if !strings.Contains(got, Hidden) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Fatalf("%s becomes %s", c.text, got)
			}
			if left := len(got) - len("before  after") - len(Hidden); left > 20 {
				t.Errorf("%d bytes of %s are left: %s", left, c.text, got)
			}
		})
	}
}

func TestLinesOfALongSecretAreMasked(t *testing.T) {
	key := "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nq83vEjRWeJASNFZ4\n-----END KEY-----"
	if got := knowing(t, key).Text("log: q83vEjRWeJASNFZ4"); got != "log: ***" {
		t.Error(got)
	}
}

// However the bytes are cut, what arrives is the masked whole; what has no
// secret in it arrives as it is.
func TestWriterMasksAcrossWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 800 {
		secrets := []string{text(r, 8+r.IntN(24)), text(r, 8+r.IntN(12))}
		m := knowing(t, secrets...)
		var all strings.Builder
		for range r.IntN(8) {
			all.WriteString(text(r, r.IntN(12)))
			s := secrets[r.IntN(2)]
			switch r.IntN(4) {
			case 0:
				all.WriteString(s)
			case 1:
				all.WriteString(base64.StdEncoding.EncodeToString([]byte(text(r, r.IntN(4)) + s)))
			case 2:
				all.WriteString(s[:r.IntN(len(s))]) // only begun
			}
		}
		var got strings.Builder
		w := m.Writer(&got)
		for rest := all.String(); rest != ""; {
			n := 1 + r.IntN(len(rest))
			if r.IntN(2) == 0 {
				n = min(len(rest), 1+r.IntN(4))
			}
			if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		// Hidden may be written once or twice where secrets touch.
		norm := strings.NewReplacer(Hidden+Hidden, Hidden)
		want := m.Text(all.String())
		if norm.Replace(norm.Replace(got.String())) != norm.Replace(norm.Replace(want)) {
			t.Fatalf("secrets %q\n in %q\ngot %q\nwant %q", secrets, all.String(), got.String(), want)
		}
		for _, s := range secrets {
			if strings.Contains(got.String(), s) {
				t.Fatalf("%q is in %q", s, got.String())
			}
		}
	}
}

// text draws from few letters, so that beginnings of secrets are frequent.
func text(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abc"[r.IntN(3)]
	}
	return string(b)
}

func TestWithoutSecretsNothingChanges(t *testing.T) {
	var none *Mask
	var got bytes.Buffer
	w := none.Writer(&got)
	if _, err := w.Write([]byte("abc")); err != nil || got.String() != "abc" || none.Text("x") != "x" {
		t.Errorf("%q, %v", got.String(), err)
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	err := (&Mask{}).Add("token", "1234567")
	if err == nil || strings.Contains(err.Error(), "1234567") {
		t.Errorf("%v", err)
	}
}

// A file keeps its length and its mode, and a secret on the border of two
// looks is found.
func TestScrub(t *testing.T) {
	dir := t.TempDir()
	const key = "correct-horse-battery"
	m := knowing(t, key)
	for _, at := range []int{0, 17, chunk - 5, chunk + 3, 2*chunk - 1} {
		data := bytes.Repeat([]byte{'.'}, 2*chunk+100)
		copy(data[at:], key)
		copy(data[at+40:], base64.StdEncoding.EncodeToString([]byte("u:"+key)))
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, data, 0o444); err != nil {
			t.Fatal(err)
		}
		changed, err := m.Scrub(dir)
		if err != nil || len(changed) != 1 {
			t.Fatalf("%v, %v", changed, err)
		}
		got, err := os.ReadFile(file)
		if err != nil || len(got) != len(data) || bytes.Contains(got, []byte(key)) {
			t.Fatalf("secret at %d: %d bytes, %v", at, len(got), err)
		}
		if again, err := m.Scrub(dir); err != nil || again != nil {
			t.Errorf("a second time: %v, %v", again, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNamesWithSecretsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	const key = "correct-horse-battery"
	if err := os.MkdirAll(filepath.Join(dir, key, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), []byte(key), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere/"+key, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	changed, err := knowing(t, key).Scrub(dir)
	if err == nil || strings.Contains(err.Error(), key) || len(changed) != 1 {
		t.Errorf("%v, %v", changed, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("%v, %v", left, err)
	}
}

func TestTree(t *testing.T) {
	dec := json.NewDecoder(strings.NewReader(`{"a":["x 12345678 y",1],"12345678":{"n":12345678.5},"b":true}`))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	got, changed := knowing(t, "12345678").Tree(tree)
	text, err := json.Marshal(got)
	if want := `{"***":{"n":"***.5"},"a":["x *** y",1],"b":true}`; err != nil || !changed || string(text) != want {
		t.Errorf("%s, %v, %v, want %s", text, changed, err, want)
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("from-a-file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_HERE", "from-the-environment")
	for _, c := range []struct{ reason, written, want, why string }{
		{"environment", "@env:SECRET_HERE", "from-the-environment", ""},
		{"a file, without the line end", "@file:" + file, "from-a-file", ""},
		{"not set", "@env:SECRET_NOT_HERE", "", "SECRET_NOT_HERE is empty or not set"},
		{"no file", "@file:" + dir + "/none", "", "does not exist"},
		{"a folder", "@file:" + dir, "", "is a folder"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			src, ok := ParseSource(c.written)
			if !ok || src.String() != c.written {
				t.Fatalf("%v, %v", src, ok)
			}
			got, err := src.Read()
			if got != c.want || (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for _, literal := range []string{"hunter2hunter2", "@env:", "env:X", ""} {
		if _, ok := ParseSource(literal); ok {
			t.Errorf("%q is taken for a source", literal)
		}
	}
}
