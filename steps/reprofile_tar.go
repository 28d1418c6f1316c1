package steps

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxUnpacked bounds what a profiler may send: profiles are megabytes.
const maxUnpacked = 1 << 30

// unpack reads a tar archive from the start of f into dir. An empty file is
// no archive and no error.
func unpack(f *os.File, dir string) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := tar.NewReader(f)
	left := int64(maxUnpacked)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && n == 0 {
			head := make([]byte, 60)
			m, _ := f.ReadAt(head, 0)
			return fmt.Errorf("the command's stdout is no tar archive (it begins with %q); let it write the profile into its working folder, and messages to stderr", head[:m])
		}
		if err != nil {
			return fmt.Errorf("the command's stdout is a broken tar archive: %w", err)
		}
		name := filepath.FromSlash(h.Name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("the command's archive holds %q, which is outside of the folder that it is unpacked in", h.Name)
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("the command's archive is larger than %d bytes; send profiles alone", int64(maxUnpacked))
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(filepath.Join(dir, name), 0o755)
		case tar.TypeReg:
			err = unpackFile(in, filepath.Join(dir, name))
		case tar.TypeSymlink, tar.TypeLink:
			err = fmt.Errorf("the command's archive holds the link %q; send the file itself (tar -h)", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(from io.Reader, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
