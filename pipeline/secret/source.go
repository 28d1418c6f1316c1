// Package secret keeps values that nobody may read: a [Source] says where one
// comes from, and a [Mask] takes them out of everything that is written, in
// every spelling that a program on the way may have given them. The mask
// stands at the sinks (streams, logs, journal, results, files of a step), not
// at the places that know a secret: those are many, and the next one forgets.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source is where a secret comes from: an environment variable or a file,
// exactly one of them.
type Source struct {
	Env  string `json:"env,omitempty"`
	File string `json:"file,omitempty"` // absolute
}

// The forms of a [Source] on a command line.
const (
	envPrefix  = "@env:"
	filePrefix = "@file:"
)

// ParseSource reads "@env:NAME" or "@file:PATH". ok is false for everything
// else: for a secret itself, say, which is why no error repeats it.
func ParseSource(s string) (src Source, ok bool) {
	if name, is := strings.CutPrefix(s, envPrefix); is && name != "" {
		return Source{Env: name}, true
	}
	if path, is := strings.CutPrefix(s, filePrefix); is && path != "" {
		return Source{File: path}, true
	}
	return Source{}, false
}

// String is the form that [ParseSource] reads.
func (s Source) String() string {
	if s.Env != "" {
		return envPrefix + s.Env
	}
	return filePrefix + s.File
}

// Name is what names the secret where nothing else does: the variable, or the
// file without its folder.
func (s Source) Name() string {
	if s.Env != "" {
		return s.Env
	}
	return filepath.Base(s.File)
}

// Missing says what keeps the secret from being read, without reading it; ""
// if nothing does.
func (s Source) Missing() string {
	if s.Env != "" {
		if os.Getenv(s.Env) == "" {
			return fmt.Sprintf("the environment variable %s is empty or not set", s.Env)
		}
		return ""
	}
	switch info, err := os.Stat(s.File); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the file %s does not exist", s.File)
	case err != nil:
		return fmt.Sprintf("the file %s cannot be read: %v", s.File, err)
	case info.IsDir():
		return fmt.Sprintf("%s is a folder, not a file", s.File)
	}
	return ""
}

// maxFile bounds the file of a secret, in bytes: a key, not a dump.
const maxFile = 64 << 10

// Read returns the secret. The line end that editors leave at the end of a
// file is no part of it.
func (s Source) Read() (string, error) {
	if why := s.Missing(); why != "" {
		return "", errors.New(why)
	}
	if s.Env != "" {
		return os.Getenv(s.Env), nil
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(data), "\r\n")
	switch {
	case len(data) > maxFile:
		return "", fmt.Errorf("the file %s has %d bytes; a secret has at most %d", s.File, len(data), maxFile)
	case value == "":
		return "", fmt.Errorf("the file %s is empty", s.File)
	}
	return value, nil
}
