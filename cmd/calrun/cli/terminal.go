package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is what a stream can show.
type terminal struct {
	width  int  // columns; 0 if the stream is no terminal
	colour bool // it is one and nobody asked for none
}

// look finds out what w can show. A file, a pipe and a buffer show no colour.
func (a *app) look(w io.Writer) terminal {
	if masked, ok := w.(interface{ Unwrap() io.Writer }); ok {
		w = masked.Unwrap()
	}
	f, ok := w.(*os.File)
	if !ok {
		return terminal{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return terminal{}
	}
	t := terminal{width: int(size.Col)}
	if t.width == 0 {
		t.width = 80
	}
	t.colour = a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
	return t
}

// columns writes rows as a table of left-aligned columns, two spaces apart.
func columns(w io.Writer, rows [][]string) error {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
