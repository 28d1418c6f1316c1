// Package pack is the archive in which a run travels: a tar of plain files,
// compressed with zstd, behind a head that states the digest of all that
// follows. `zstd -d < x.pack | tar t` lists one: the head is a frame that zstd
// passes over. [Write] makes a pack, [Read] gives its entries after the digest
// has been checked. It knows names and bytes, and nothing of runs.
//
// Equal entries make equal packs. A pack is read as something that a stranger
// made: names stay inside, nothing but files and links to files of the same
// pack is in it, and it unpacks to no more than its head states and the reader
// allows.
package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Info is what is known of a pack before it is unpacked.
type Info struct {
	Digest   string // "sha256:<64 hex>" of everything behind the head, and of Unpacked
	Size     int64  // bytes of the file
	Unpacked int64  // bytes of the tar
}

// Entry is a file in a pack.
type Entry struct {
	Name string // slash-separated, relative
	Exec bool
	// Same is the name of an entry before this one with the same content; the
	// pack holds it once.
	Same string
	// Data is the content, or Path is where it lies; Digest, if it is set, is
	// what the content must have.
	Data         []byte
	Path, Digest string
}

// ErrChanged says that a pack is not what was written.
var ErrChanged = errors.New("it was changed after it was written, or a part of it is lost")

// The head is a zstd frame to be skipped: its magic number, the length of its
// text, the text.
const (
	magic     = "\x50\x2a\x4d\x18"
	headText  = "calrun pack 1\nsha256:%s\nunpacked:%020d\n"
	textLen   = len("calrun pack 1\nsha256:\nunpacked:\n") + 2*sha256.Size + 20
	headLen   = len(magic) + 4 + textLen
	digestPos = len("calrun pack 1\nsha256:")
)

func head(sum []byte, unpacked int64) []byte {
	var b bytes.Buffer
	b.WriteString(magic)
	_ = binary.Write(&b, binary.LittleEndian, uint32(textLen)) // a buffer takes it
	fmt.Fprintf(&b, headText, hex.EncodeToString(sum), unpacked)
	return b.Bytes()
}

// readHead reads the head of a pack and holds its digest against the rest of
// the file.
func readHead(f *os.File) (Info, error) {
	var info Info
	got := make([]byte, headLen)
	if _, err := io.ReadFull(f, got); err != nil {
		return info, fmt.Errorf("%s is no pack: it is shorter than the head of one", f.Name())
	}
	text := string(got[len(magic)+4:])
	hexa := text[digestPos : digestPos+2*sha256.Size]
	sum, err := hex.DecodeString(hexa)
	if err == nil {
		info.Unpacked, err = strconv.ParseInt(strings.TrimLeft(text[textLen-21:textLen-1], "0"), 10, 64)
	}
	if err != nil || !bytes.Equal(got, head(sum, info.Unpacked)) {
		return info, fmt.Errorf("%s is no pack of calrun: its head is not one", f.Name())
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return info, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	fmt.Fprint(h, info.Unpacked)
	info.Size, info.Digest = int64(headLen)+n, "sha256:"+hex.EncodeToString(h.Sum(nil))
	if !bytes.Equal(h.Sum(nil), sum) {
		return info, fmt.Errorf("%s: its content has the digest %s, its head states sha256:%s: %w", f.Name(), info.Digest, hexa, ErrChanged)
	}
	return info, nil
}

// Look checks a pack and says what it is, without unpacking it.
func Look(file string) (Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return readHead(f)
}

// checkName says what is wrong with a name that is to become a path.
func checkName(name string) error {
	if name == "" || name == "." || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00") || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("name %q does not stay inside the folder it is unpacked to", name)
	}
	return nil
}
