package report

import "io"

// HTML writes p as one self-contained page.
func HTML(w io.Writer, p Page) error { _, err := io.WriteString(w, p.Plan); return err }

// Table writes the core of p for a terminal that is width columns wide.
func Table(w io.Writer, p Page, width int, colour bool) error { return HTML(w, p) }
