package loadgen

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"calrun/internal/openai"
	"calrun/internal/trace"
)

// receive reads the answer into the row. reusable says that the connection
// stands at the beginning of its next answer.
func (r *run) receive(c *conn, row *trace.Row) (reusable bool, err error) {
	resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return false, errors.New("the engine closed the connection before it answered")
		}
		return false, fmt.Errorf("read the answer: %w", err)
	}
	defer resp.Body.Close()
	row.Status = resp.StatusCode
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return err == nil && !resp.Close, fmt.Errorf("HTTP %d: %s", resp.StatusCode, openai.ErrorMessage(openai.Hide(body, r.target.Key)))
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return false, fmt.Errorf("the engine answered with %q, not with an event stream; does it stream on this path?", kind)
	}
	return r.stream(c, resp, row)
}

func (r *run) stream(c *conn, resp *http.Response, row *trace.Row) (reusable bool, err error) {
	var decoder openai.Decoder
	var receipt openai.Receipt
	firstRead := 0
	take := func(ev *openai.Event) {
		before := receipt.Events
		receipt.Take(ev, c.at)
		if receipt.Events > before {
			switch {
			case before == 0:
				firstRead = c.reads
			case before == 1 && c.reads == firstRead:
				r.bunched.Add(1)
			}
			if c.lagLast = c.user - c.at; before == 0 {
				c.lagFirst = c.lagLast
			}
			if !c.kernel {
				r.userStamps.Add(1)
			}
		}
	}
	buf := make([]byte, 8<<10)
	var broken error
	for broken == nil {
		var n int
		n, broken = resp.Body.Read(buf)
		if err := decoder.Feed(buf[:n], take); err != nil {
			broken = err
		}
	}
	clean := errors.Is(broken, io.EOF)
	if clean {
		if err := decoder.Close(take); err != nil {
			clean, broken = false, err
		}
	}
	estimated, err := receipt.End(clean)
	row.First, row.Last = receipt.First, receipt.Last
	if receipt.Events > 0 {
		// The thread may lose its core between the write and the look at the
		// clock; the answer proves that the request had gone.
		row.Sent = min(row.Sent, row.First)
	}
	row.Tokens, row.FirstTokens = receipt.Tokens, receipt.FirstTokens
	row.Prompted, row.Cached = receipt.Prompted, receipt.Cached
	row.Estimated = estimated
	if receipt.Events > 0 {
		r.mu.Lock()
		r.lags = append(r.lags, c.lagFirst, c.lagLast)
		r.mu.Unlock()
	}
	if err != nil && !clean {
		err = fmt.Errorf("%w (%w)", err, broken)
	}
	return clean && !resp.Close, err
}
