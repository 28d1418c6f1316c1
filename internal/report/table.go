package report

import "io"

// Table writes the core of p for a terminal that is width columns wide.
func Table(w io.Writer, p Page, width int, colour bool) error {
	_, err := io.WriteString(w, p.Plan+" "+p.Verdict+"\n")
	return err
}
