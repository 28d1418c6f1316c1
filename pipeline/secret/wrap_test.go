package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wrap breaks a text into lines, as the command base64 does.
func wrap(s string, width int, end string) string {
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width] + end)
		s = s[width:]
	}
	return b.String() + s + end
}

// leaks says how much of a secret is left in what base64, broken into lines or
// not, says in a text: the longest piece of it, in bytes.
func leaks(text, secret string) int {
	text = strings.NewReplacer("\r", "", "\n", "", `\\r`, "", `\\n`, "", `\r`, "", `\n`, "").Replace(text)
	most := 0
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r > 127 || !inBase64[r] }) {
		word = strings.NewReplacer("-", "+", "_", "/").Replace(word)
		for from := range min(4, len(word)) {
			w := word[from:]
			plain, err := base64.RawStdEncoding.DecodeString(w[:len(w)/4*4])
			if err != nil {
				continue
			}
			for i := range secret {
				for n := most + 1; i+n <= len(secret) && bytes.Contains(plain, []byte(secret[i:i+n])); n++ {
					most = n
				}
			}
		}
	}
	return most
}

// A secret in base64 is found wherever it begins in lines of whatever width,
// however they end, and however the writes are cut.
func TestBrokenBase64IsMasked(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 600 {
		key := make([]byte, 12+r.IntN(120))
		for i := range key {
			key[i] = byte('!' + r.IntN(94))
		}
		secret := string(key)
		m := knowing(t, secret)
		enc := []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding}[r.IntN(2)]
		around := func() string { return strings.Repeat("~", r.IntN(150)) }
		end := []string{"\n", "\r\n", `\n`, `\r\n`, `\\n`}[r.IntN(5)]
		width := 60 + r.IntN(20)
		all := "says: " + "\n" + wrap(enc.EncodeToString([]byte(around()+secret+around())), width, end) + "done\n"
		if n := leaks(all, secret); n < len(secret)-3 {
			t.Fatalf("the oracle sees %d of %d bytes in %q", n, len(secret), all)
		}
		want := m.Text(all)
		if n := leaks(want, secret); n > 3 || !strings.HasPrefix(want, "says: \n") || !strings.HasSuffix(want, "done\n") {
			t.Fatalf("%d bytes are left of %q in lines of %d, ended by %q:\n%s\n%s", n, secret, width, end, all, want)
		}
		var got strings.Builder
		w := m.Writer(&got)
		for rest := all; rest != ""; {
			n := 1 + r.IntN(len(rest))
			if r.IntN(2) == 0 {
				n = min(len(rest), 1+r.IntN(9))
			}
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		norm := strings.NewReplacer(Hidden+Hidden, Hidden)
		if norm.Replace(norm.Replace(got.String())) != norm.Replace(norm.Replace(want)) {
			t.Fatalf("secret %q\n in %q\ngot %q\nwant %q", secret, all, got.String(), want)
		}
	}
}

// Inside a JSON text, and in a file on the border of two looks, too.
func TestBrokenBase64IsMaskedInDocumentsAndFiles(t *testing.T) {
	const key = "correct-horse-battery-staple-and-more"
	m := knowing(t, key)
	text := wrap(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 40)+key+strings.Repeat("y", 50))), 76, "\n")
	doc, err := json.Marshal(map[string]string{"out": text})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Text(string(doc)); leaks(got, key) > 3 || !json.Valid([]byte(got)) {
		t.Errorf("%s", got)
	}
	file := filepath.Join(t.TempDir(), "f")
	for _, at := range []int{0, chunk - len(text), chunk - 60, chunk - 20, chunk + 7} {
		data := bytes.Repeat([]byte{'.'}, 2*chunk)
		copy(data[at:], "\n"+text)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if changed, err := m.Scrub(filepath.Dir(file)); err != nil || len(changed) != 1 {
			t.Fatalf("at %d: %v, %v", at, changed, err)
		}
		got, err := os.ReadFile(file)
		if err != nil || len(got) != len(data) || leaks(string(got[at:at+len(text)+1]), key) > 3 {
			t.Errorf("at %d: %d bytes of %d, %v: %s", at, len(got), len(data), err, got[at:at+len(text)+1])
		}
	}
}

// What is no broken base64 is passed on at once, line by line.
func TestLinesDoNotWaitForEachOther(t *testing.T) {
	m := knowing(t, "correct-horse-battery")
	core := cores("correct-horse-battery")[0]
	for _, line := range []string{"done", "word " + core[:1], strings.Repeat("=", 80) + core[:2]} {
		var got bytes.Buffer
		if _, err := fmt.Fprintln(m.Writer(&got), line); err != nil || got.String() != line+"\n" {
			t.Errorf("%q after %q, %v", got.String(), line, err)
		}
	}
}
