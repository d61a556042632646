package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
	"github.com/kerbodyne/ke-1-build/exporter/internal/volume"
)

// What is carried of log files; the rest is left, and said to be.
const (
	maxLogFiles = 100
	maxLogSize  = 256 << 20
	maxLogTotal = 2 << 30
	// maxLogEntries and maxLogDepth bound one look at the directory.
	maxLogEntries = 10_000
	maxLogDepth   = 16
	scanInterval  = time.Second
)

// Directory carries the files of a directory while they come and grow, each to a blob of its own.
type Directory struct {
	// Open opens the directory that is looked at while the build runs, and Handed the one that is there at its end.
	Open, Handed func() (*os.File, error)
	// Follow makes the exporter of one file; its Open and Bounds are set here.
	Follow   func(name string) *Exporter
	Progress func(format string, args ...any)

	bounds Bounds
	seen   map[fileID]bool
	names  map[string]bool
	files  []*followed
	group  sync.WaitGroup
}

type fileID struct{ device, inode uint64 }

type followed struct {
	record contract.LogFile
	err    error
}

// Run goes on until ended is closed and all files are stored as they were then. The records are sorted by name.
func (d *Directory) Run(ctx context.Context, ended <-chan struct{}) ([]contract.LogFile, error) {
	d.seen, d.names = map[fileID]bool{}, map[string]bool{}
	d.bounds.Size = maxLogSize
	d.bounds.Left.Store(maxLogTotal)
	wait := scanInterval
	for ctx.Err() == nil && !isClosed(ended) {
		began := time.Now()
		d.scan(ctx, ended, d.Open)
		// However many entries there are, looking at them is a small part of the exporter's time.
		wait = max(scanInterval, 20*time.Since(began))
		if err := sleep(ctx, ended, wait); err != nil {
			break
		}
	}
	left := d.scan(ctx, ended, d.Open) + d.scan(ctx, ended, d.Handed)
	if left > 0 {
		d.Progress("%d log files were left: there are more than %d of them", left, maxLogFiles)
	}
	d.group.Wait()
	slices.SortFunc(d.files, func(a, b *followed) int { return cmp.Compare(a.record.Name, b.record.Name) })
	records := make([]contract.LogFile, 0, len(d.files))
	var err error
	for _, file := range d.files {
		if file.err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", file.record.Name, file.err))
		}
		records = append(records, file.record)
	}
	return records, err
}

// scan begins to follow what is new, and returns how many files there are no room for.
func (d *Directory) scan(ctx context.Context, ended <-chan struct{}, open func() (*os.File, error)) int {
	root, err := open()
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			d.Progress("the directory of logs cannot be read: %v", err)
		}
		return 0
	}
	defer root.Close()
	left, entries := 0, 0
	var walk func(dir *os.File, prefix string, depth int)
	walk = func(dir *os.File, prefix string, depth int) {
		for {
			names, err := dir.Readdirnames(256)
			for _, name := range names {
				if entries++; entries > maxLogEntries {
					return
				}
				var stat unix.Stat_t
				if unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
					continue
				}
				switch stat.Mode & unix.S_IFMT {
				case unix.S_IFDIR:
					if depth == maxLogDepth {
						continue
					}
					if sub, err := openDirectory(dir, name); err == nil {
						walk(sub, prefix+name+"/", depth+1)
						sub.Close()
					}
				case unix.S_IFREG:
					if d.seen[fileID{uint64(stat.Dev), stat.Ino}] {
						continue
					}
					if len(d.files) == maxLogFiles {
						left++
						continue
					}
					if file, err := volume.OpenRegular(int(dir.Fd()), name); err == nil {
						d.begin(ctx, ended, prefix+name, file)
					}
				}
			}
			if err != nil || len(names) == 0 {
				return
			}
		}
	}
	walk(root, "", 0)
	return left
}

func openDirectory(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// begin follows a file by what it is, not by its name: one that is renamed is not stored twice, and stays open so that its
// number is not another's.
func (d *Directory) begin(ctx context.Context, ended <-chan struct{}, path string, file *os.File) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		file.Close()
		return
	}
	id := fileID{uint64(stat.Dev), stat.Ino}
	if d.seen[id] {
		file.Close()
		return
	}
	d.seen[id] = true
	name := BlobName(path)
	for n := 2; d.names[name]; n++ {
		name = fmt.Sprintf("%s~%d", BlobName(path), n)
	}
	d.names[name] = true
	exporter := d.Follow(name)
	exporter.Open = func() (*os.File, error) { return file, nil }
	exporter.Bounds = &d.bounds
	result := &followed{record: contract.LogFile{Name: name}}
	d.files = append(d.files, result)
	d.group.Go(func() {
		stored, err := exporter.Run(ctx, ended)
		result.record = contract.LogFile{Name: name, Size: stored.Size, SHA256: stored.SHA256, Truncated: exporter.cut}
		result.err = err
	})
}

const (
	maxNameBytes = 400
	hexDigits    = "0123456789ABCDEF"
)

// BlobName makes a name that every store and terminal takes of a path that may have anything in it: what is neither a letter
// nor a digit of ASCII, nor one of -_.+=@, or a slash, is written as in a URL. Different paths stay different, but for ones
// that are too long.
func BlobName(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		last := i+1 == len(path) || path[i+1] == '/'
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_+=@,/", c) >= 0,
			// The service drops a dot at the end of a part of a name.
			c == '.' && !last:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	if b.Len() > maxNameBytes {
		return b.String()[:maxNameBytes] + "~"
	}
	return b.String()
}
