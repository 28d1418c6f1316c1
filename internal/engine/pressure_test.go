package engine

import (
	"testing"
	"time"
)

func TestWaited(t *testing.T) {
	for _, c := range []struct {
		why, text string
		want      time.Duration
		ok        bool
	}{
		{"as Linux writes it", "some avg10=81.02 avg60=66.14 avg300=64.56 total=5722499605\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", 5722499605 * time.Microsecond, true},
		{"without the line", "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", 0, false},
		{"a total that is no number", "some avg10=0.00 total=many\n", 0, false},
		{"nothing", "", 0, false},
	} {
		if got, ok := waited(c.text); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v, %v, want %v, %v", c.why, got, ok, c.want, c.ok)
		}
	}
}

// One engine has one address, however its URL is written.
func TestAddress(t *testing.T) {
	for base, want := range map[string]string{
		"http://127.0.0.1:8000": "localhost:8000", "http://LOCALHOST:8000/": "localhost:8000", "http://[::1]:8000": "localhost:8000",
		"http://0.0.0.0:8000": "localhost:8000", "http://key@127.0.0.1:8000/a/b": "localhost:8000", "http://localhost.:8000": "localhost:8000",
		"http://Node-1": "node-1:80", "https://node-1": "node-1:443", "http://[fe80::1]:8000": "[fe80::1]:8000", "": "", "node-1": "", "::": "",
	} {
		if got := Address(base); got != want {
			t.Errorf("%q: %q, want %q", base, got, want)
		}
	}
}

func TestHere(t *testing.T) {
	for at, want := range map[string]bool{
		"http://127.0.0.1:8000": true, "http://localhost:8000": true, "http://[::1]:8000": true,
		"http://10.0.0.7:8000": false, "https://engine.example.com": false, "http://localhost.example.com": false,
	} {
		e, err := New(at)
		if err != nil {
			t.Fatal(err)
		}
		if e.Here() != want {
			t.Errorf("%s: on this machine is %v, want %v", at, !want, want)
		}
	}
}
