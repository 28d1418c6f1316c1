package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Shortest is the length in bytes below which a secret is refused, and below
// which no part of one is looked for: shorter texts are met by chance.
const Shortest = 8

// forms are the spellings of a value that programs write: as it is, line by
// line (see [parts]), quoted for JSON, Go, HTML, YAML or a shell, as part of a URL, in hex,
// and in base64 at each of the three places where it may begin (a basic
// Authorization header is base64 of user:secret). Each of them may stand in a
// JSON text again: a program that prints a JSON document has it logged as one.
func forms(value string) []string {
	var out []string
	for _, v := range parts(value) {
		out = append(out, spellings(v)...)
	}
	for _, f := range slices.Clone(out) {
		out = append(out, jsonForms(f)...)
	}
	return distinct(out)
}

// parts are a value and, where it has several, each of its lines.
func parts(value string) []string {
	out := []string{value}
	for line := range strings.Lines(value) {
		if line = strings.TrimRight(line, "\r\n"); line != value {
			out = append(out, line)
		}
	}
	return out
}

// cores are the base64 of a value, which may be broken into lines.
func cores(value string) []string {
	var out []string
	for _, v := range parts(value) {
		out = append(out, base64Cores(v)...)
	}
	return distinct(out)
}

// distinct are the forms that are long enough to be looked for, each once.
func distinct(forms []string) []string {
	forms = slices.DeleteFunc(forms, func(f string) bool { return len(f) < Shortest })
	slices.Sort(forms)
	return slices.Compact(forms)
}

func spellings(v string) []string {
	quoted := strconv.Quote(v)
	ascii := strconv.QuoteToASCII(v)
	out := []string{
		v,
		quoted[1 : len(quoted)-1],
		ascii[1 : len(ascii)-1],
		html.EscapeString(v),
		strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(v),
		strings.ReplaceAll(v, "'", "''"),
		strings.ReplaceAll(v, "'", `'\''`),
		url.QueryEscape(v),
		url.PathEscape(v),
		lowerEscapes(url.QueryEscape(v)),
		lowerEscapes(url.PathEscape(v)),
		percentAll(v),
		hex.EncodeToString([]byte(v)),
		strings.ToUpper(hex.EncodeToString([]byte(v))),
	}
	out = append(out, jsonForms(v)...)
	for _, core := range base64Cores(v) {
		out = append(out, core, url.QueryEscape(core))
	}
	return out
}

// base64Cores are the value in base64, in both alphabets and at each of the
// three places where it may begin.
func base64Cores(v string) []string {
	var out []string
	for shift := range 3 {
		out = append(out, base64Core(base64.RawStdEncoding, v, shift), base64Core(base64.RawURLEncoding, v, shift))
	}
	return out
}

// jsonForms are the value inside a JSON text: with and without the escapes of
// HTML, with and without those of everything that is not ASCII, with \/.
func jsonForms(v string) []string {
	var out []string
	var plain strings.Builder
	enc := json.NewEncoder(&plain)
	for _, escape := range []bool{true, false} {
		plain.Reset()
		enc.SetEscapeHTML(escape)
		if enc.Encode(v) != nil {
			continue
		}
		text := strings.TrimSpace(plain.String())
		text = text[1 : len(text)-1]
		ascii := asciiJSON(text)
		out = append(out, text, ascii, strings.ReplaceAll(text, "/", `\/`), strings.ReplaceAll(ascii, "/", `\/`))
	}
	return out
}

// asciiJSON writes what is not ASCII as \uXXXX, as Python's json does.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}

// base64Core is the part of an encoding that the value alone decides when
// shift bytes stand before it and others follow.
func base64Core(enc *base64.Encoding, v string, shift int) string {
	text := enc.EncodeToString(append(make([]byte, shift), v...))
	from := (shift*8 + 5) / 6 // the character that shift ends in is not its own
	to := (shift + len(v)) * 8 / 6
	return text[from:max(from, to)]
}

// lowerEscapes writes %2f for %2F.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}

// percentAll escapes all but letters, digits and -_.~, the space as %20.
func percentAll(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
