package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const (
	// maxReports and maxDirectories bound what is looked at: the directory is the build's.
	maxReports     = 10_000
	maxDirectories = 1_000
	maxUnreadable  = 10
)

// summarize reads each *.xml below a directory. No link is followed, and nothing is opened but files: what is there was left
// by code that is not trusted.
func summarize(directory string) (Summary, error) {
	var summary Summary
	root, err := os.OpenRoot(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return summary, nil
	}
	if err != nil {
		return summary, err
	}
	defer root.Close()
	left := []string{"."}
	for directories := 0; len(left) > 0; directories++ {
		if directories >= maxDirectories {
			return summary, fmt.Errorf("there are more than %d directories", maxDirectories)
		}
		next := left[0]
		inner, err := summary.readDirectory(root, next)
		if err != nil {
			return summary, err
		}
		if left = append(left[1:], inner...); len(left) > maxDirectories {
			return summary, fmt.Errorf("there are more than %d directories", maxDirectories)
		}
	}
	return summary, nil
}

// readDirectory returns the directories in it.
func (s *Summary) readDirectory(root *os.Root, directory string) (inner []string, err error) {
	dir, err := root.OpenFile(directory, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for {
		entries, err := dir.ReadDir(256)
		if err == io.EOF {
			return inner, nil
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			file := path.Join(directory, entry.Name())
			switch {
			case entry.IsDir() && len(inner) <= maxDirectories:
				inner = append(inner, file)
			case entry.Type().IsRegular() && strings.EqualFold(path.Ext(file), ".xml"):
				if s.Reports++; s.Reports > maxReports {
					return nil, fmt.Errorf("there are more than %d reports", maxReports)
				}
				s.readFile(root, file)
			}
		}
	}
}

// readFile adds a report as a whole, or not at all.
func (s *Summary) readFile(root *os.Root, file string) {
	// O_NONBLOCK: what was a file a moment ago may be a FIFO now.
	in, err := root.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err == nil {
		defer in.Close()
		var info os.FileInfo
		if info, err = in.Stat(); err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is no file")
		}
	}
	one := *s
	one.Failed = append([]string(nil), s.Failed...)
	if err == nil {
		err = one.read(in)
	}
	if err == nil {
		*s = one
	} else if len(s.Unreadable) < maxUnreadable {
		s.Unreadable = append(s.Unreadable, fmt.Sprintf("%s: %v", name(file), err))
	}
}
