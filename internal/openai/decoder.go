package openai

import "bytes"

// Decoder cuts a server-sent event stream into events. It is fed whatever
// arrived, in any pieces; the events depend on the bytes alone, never on
// where they were cut.
type Decoder struct {
	line  []byte // an unfinished line
	data  []byte // the data lines of an unfinished event
	some  bool   // there was a data line, if only an empty one
	cr    bool   // the last byte was a carriage return: a line feed may follow
	begun bool   // the first line is behind us, and with it a byte order mark
}

// Feed takes the next bytes and calls emit for each event that they complete.
// The event is emit's only during the call. An error is an event that is no
// JSON object; the events before it were emitted.
func (d *Decoder) Feed(p []byte, emit func(*Event)) error {
	for len(p) > 0 {
		if d.cr {
			d.cr = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			d.line = append(d.line, p...)
			return nil
		}
		d.cr = p[end] == '\r'
		line := p[:end]
		if len(d.line) > 0 {
			d.line = append(d.line, line...)
			line = d.line
		}
		err := d.take(line, emit)
		d.line = d.line[:0]
		if err != nil {
			return err
		}
		p = p[end+1:]
	}
	return nil
}

// Close ends the stream: an event that lacked only its empty line still
// counts, since some servers end the connection there.
func (d *Decoder) Close(emit func(*Event)) error {
	if len(d.line) > 0 {
		if err := d.take(d.line, emit); err != nil {
			return err
		}
		d.line = d.line[:0]
	}
	return d.dispatch(emit)
}

// take handles a whole line, its end taken off.
func (d *Decoder) take(line []byte, emit func(*Event)) error {
	if !d.begun {
		d.begun = true
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	if len(line) == 0 {
		return d.dispatch(emit)
	}
	rest, ok := bytes.CutPrefix(line, []byte("data"))
	if !ok || (len(rest) > 0 && rest[0] != ':') {
		return nil // a comment, an event name, an id, a retry time
	}
	rest = bytes.TrimPrefix(rest, []byte(":"))
	rest = bytes.TrimPrefix(rest, []byte(" "))
	if d.some {
		d.data = append(d.data, '\n')
	}
	d.data = append(d.data, rest...)
	d.some = true
	return nil
}

func (d *Decoder) dispatch(emit func(*Event)) error {
	data := d.data
	d.data, d.some = d.data[:0], false
	if len(data) == 0 {
		return nil
	}
	if string(data) == "[DONE]" {
		emit(&Event{Done: true})
		return nil
	}
	ev, err := parseEvent(data)
	if err != nil {
		return err
	}
	emit(&ev)
	return nil
}
