package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"calrun/internal/failpoint"
	"calrun/pipeline/canonical"
)

// entry is one line of a journal. Hash covers Prev and the event's bytes, so
// that a changed, lost or moved line breaks the chain. It proves integrity,
// not authorship.
type entry struct {
	Prev  string          `json:"prev"`
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

// genesis is what the first line of a journal follows.
const genesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Journal appends to a file of chained lines, each a JSON document. One
// process writes a file at a time, and one goroutine in it.
type Journal struct {
	f    *os.File
	prev string // hash of the last event, written or not
	todo []byte // lines that are not written
	size int64  // of what is written
	safe int64  // of what is on the disk
	err  error  // why nothing more can be written: nobody knows how the file ends
}

// CreateJournal makes a new journal, durable as a name already.
func CreateJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	if err := errors.Join(failpoint.Err("journal.created"), Sync(filepath.Dir(path))); err != nil {
		f.Close()
		return nil, err
	}
	failpoint.At("journal.named")
	return &Journal{f: f, prev: genesis}, nil
}

// OpenJournal goes on with a journal: it returns its events, after cutting
// off a last line that a death left unfinished.
func OpenJournal(path string) (*Journal, []json.RawMessage, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read journal: %w", err)
	}
	chain, err := readChain(path, data)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	if chain.good < len(data) {
		err := errors.Join(failpoint.Err("journal.cut"), f.Truncate(int64(chain.good)), f.Sync())
		failpoint.At("journal.was-cut")
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("cut off the torn last line of %s: %w", path, err)
		}
	}
	return &Journal{f: f, prev: chain.last, size: int64(chain.good), safe: int64(chain.good)}, chain.events, nil
}

// Add chains an event to those before it, for the next [Journal.Flush].
func (j *Journal) Add(event json.RawMessage) error {
	if j.err != nil {
		return j.err
	}
	hash := chainHash(j.prev, event)
	line, err := canonical.Encode(entry{Prev: j.prev, Hash: hash, Event: event})
	if err != nil {
		return err
	}
	j.todo = append(append(j.todo, line...), '\n')
	j.prev = hash
	return nil
}

// Flush writes the events that were added. Once it has failed it goes on
// failing, as [Journal.Sync] does: what is in doubt is taken back as far as
// the disk lets us, and what the file holds then is for [OpenJournal] to find
// out.
func (j *Journal) Flush() error {
	if j.err == nil && len(j.todo) > 0 {
		failpoint.At("journal.append")
		_, err := failpoint.Write("journal.write", j.f, j.todo)
		if err != nil {
			return j.fail(err, j.size)
		}
		failpoint.At("journal.written")
		j.size += int64(len(j.todo))
		j.todo = j.todo[:0]
	}
	return j.err
}

// Sync returns when what was written is on the disk.
func (j *Journal) Sync() error {
	if j.err == nil {
		if err := errors.Join(failpoint.Err("journal.sync"), j.f.Sync()); err != nil {
			return j.fail(err, j.safe)
		}
		failpoint.At("journal.synced")
		j.safe = j.size
	}
	return j.err
}

// fail takes back what is behind size. Taking back needs no space, so that it
// works on a full disk; where it does not, OpenJournal cuts the torn line off.
func (j *Journal) fail(err error, size int64) error {
	j.err = err
	_ = j.f.Truncate(size)
	return err
}

// Close releases the file.
func (j *Journal) Close() error { return j.f.Close() }

// ReadJournal reads the events of a journal without touching it; another
// process may be writing it.
func ReadJournal(path string) ([]json.RawMessage, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := readChain(path, data)
	return c.events, err
}

// chain is what a journal holds.
type chain struct {
	events []json.RawMessage
	last   string // hash of the last event
	good   int    // bytes up to the end of the last whole line
}

// readChain reads a journal's lines. A last line that has no end, or holds
// zeros, is what a death leaves behind and is passed over; anything else that
// does not fit is refused.
func readChain(path string, data []byte) (chain, error) {
	c := chain{last: genesis}
	for line := 1; c.good < len(data); line++ {
		end := bytes.IndexByte(data[c.good:], '\n')
		if end < 0 {
			return c, nil
		}
		var e entry
		text := data[c.good : c.good+end]
		if err := json.Unmarshal(text, &e); err != nil {
			if torn(data[c.good:], end) {
				return c, nil
			}
			return c, fmt.Errorf("journal %s: line %d is not JSON (%w); "+
				"the file was changed or the disk lost a piece: restore it from a copy", path, line, err)
		}
		same, err := canonical.Encode(e) // JSON forgives capitals, spaces and doubled names; a journal does not
		if err != nil || !bytes.Equal(same, text) || e.Prev != c.last || e.Hash != chainHash(e.Prev, e.Event) {
			return c, fmt.Errorf("journal %s: line %d does not follow from the line before it (hash %.12s…); "+
				"the file was changed after it was written: restore it from a copy", path, line, e.Hash)
		}
		c.events = append(c.events, e.Event)
		c.last = e.Hash
		c.good += end + 1
	}
	return c, nil
}

// torn says whether a line that is not JSON is what the death of a machine
// left: the last one, with a piece that never reached the disk and reads as
// zeros.
func torn(rest []byte, end int) bool {
	return end+1 == len(rest) && bytes.IndexByte(rest, 0) >= 0
}

func chainHash(prev string, event []byte) string {
	h := sha256.New()
	h.Write([]byte(prev))
	h.Write(event)
	return hex.EncodeToString(h.Sum(nil))
}
