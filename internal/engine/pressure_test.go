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
