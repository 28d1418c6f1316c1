package pack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// Read checks a pack and gives its entries one after the other; content is
// nil for one that is the same as an entry before it. most bounds the bytes
// that it unpacks to.
func Read(file string, most int64, take func(e Entry, content io.Reader) error) (Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	info, err := readHead(f)
	if err != nil {
		return info, err
	}
	if info.Unpacked > most {
		return info, fmt.Errorf("%s unpacks to %d MB, and at most %d MB are allowed", file, info.Unpacked>>20, most>>20)
	}
	if _, err := f.Seek(int64(headLen), io.SeekStart); err != nil {
		return info, err
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return info, err
	}
	defer z.Close()
	if err := untar(&bounded{r: z, left: info.Unpacked}, take); err != nil {
		return info, fmt.Errorf("%s: %w", file, err)
	}
	return info, nil
}

func untar(r *bounded, take func(Entry, io.Reader) error) error {
	t := tar.NewReader(r)
	seen := map[string]bool{}
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e := Entry{Name: head.Name, Exec: head.Mode&0o111 != 0}
		if err := checkName(e.Name); err != nil {
			return err
		}
		if seen[e.Name] {
			return fmt.Errorf("two entries are named %s", e.Name)
		}
		switch head.Typeflag {
		case tar.TypeReg:
			if head.Size > r.left { // as the holes of a sparse file would be
				return fmt.Errorf("%s states %d bytes, more than the pack has left", e.Name, head.Size)
			}
			err = take(e, t)
		case tar.TypeLink:
			if e.Same = head.Linkname; !seen[e.Same] {
				return fmt.Errorf("%s is a link to %q, which is no entry before it", e.Name, e.Same)
			}
			err = take(e, nil)
		default:
			return fmt.Errorf("%s is neither a file nor a link to one (type %q): a pack cannot hold it", e.Name, head.Typeflag)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		seen[e.Name] = true
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if r.left != 0 {
		return fmt.Errorf("it ends %d bytes before what its head states", r.left)
	}
	return nil
}

// bounded gives what a head states and an error beyond it.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("it unpacks to more than its head states")
	}
	return n, err
}
