// Package report draws a finished run: as one self-contained HTML page and as
// a table for a terminal.
//
// It is pure. A [Page] is plain data; [HTML] and [Table] write the same bytes
// for the same Page, and read no clock, no file and no network. Charts are
// SVG drawn here; the page refers to nothing outside itself. Whoever has a
// run makes the Page (package steps does), so that nothing here knows plans.
//
// Start with [Page]. All times in it are seconds, all errors and shares are
// ratios ([Cell.Bias] 0.03 is "simulated 3 % too high"); units appear only
// when something is written.
package report
