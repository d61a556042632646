// Package artifacts takes stock of the artifact directory and stores what is in it. The directory is hostile: see volume.
package artifacts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/kerbodyne/ke-1-build/exporter/internal/contract"
)

const (
	// maxEntries bounds memory: the manifest names each of them.
	maxEntries = 100_000
	// Of a blob name (https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata).
	maxNameUnits = 1024
	maxSegments  = 254
)

// Unfit is something in the artifact directory that can never be stored: trying again does not help.
type Unfit struct{ message string }

func (e *Unfit) Error() string { return e.message }

func unfit(format string, args ...any) error { return &Unfit{fmt.Sprintf(format, args...)} }

// file is a regular file as the walk found it. The upload compares: a difference means that somebody is still writing.
type file struct {
	dir        *os.File
	name       string
	size       int64
	executable bool
	id         identity
}

type identity struct {
	device, inode uint64
	size          int64
	modified      unix.Timespec
	changed       unix.Timespec
}

func identityOf(stat *unix.Stat_t) identity {
	return identity{uint64(stat.Dev), stat.Ino, stat.Size, stat.Mtim, stat.Ctim}
}

// Inventory is what is in the artifact directory, sorted by name.
type Inventory struct {
	files   []file
	Links   []contract.Link
	Skipped []contract.Skipped
}

// Files is the number of regular files.
func (i *Inventory) Files() int { return len(i.files) }

type walker struct {
	dir       *os.File
	inventory Inventory
	entries   int
	// room is what a blob's name may have in UTF-16 units and path segments, less the prefix of the tag.
	room, segments int
}

// Walk takes stock of directories, whose files become one set of artifacts; blobPrefix is what comes before a name in the name
// of its blob. A regular file that cannot be stored is Unfit: leaving it out would lose an artifact. So is a name that two
// directories have, and that there is no file at all.
func Walk(blobPrefix string, dirs ...*os.File) (*Inventory, error) {
	w := &walker{
		room:     maxNameUnits - units(blobPrefix),
		segments: maxSegments - strings.Count(blobPrefix, "/"),
	}
	for _, w.dir = range dirs {
		if err := w.directory(int(w.dir.Fd()), ""); err != nil {
			return nil, err
		}
	}
	i := &w.inventory
	if len(dirs) > 1 {
		if err := i.clash(); err != nil {
			return nil, err
		}
	}
	if len(i.files) == 0 {
		return nil, unfit("the build left no regular file in its artifact directory")
	}
	slices.SortFunc(i.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(i.Links, func(a, b contract.Link) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(i.Skipped, func(a, b contract.Skipped) int { return strings.Compare(a.Name, b.Name) })
	return i, nil
}

// clash finds a name that two directories have, also where one has a file and the other a directory of that name.
func (i *Inventory) clash() error {
	names := make(map[string]bool, len(i.files)+len(i.Links))
	add := func(name string) error {
		if names[name] {
			return unfit("there are two artifacts %s, one in the artifact directory and one in KE1_ARTIFACTS", printable(name))
		}
		names[name] = true
		return nil
	}
	for _, f := range i.files {
		if err := add(f.name); err != nil {
			return err
		}
	}
	for _, l := range i.Links {
		if err := add(l.Name); err != nil {
			return err
		}
	}
	for name := range names {
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if names[parent] {
				return unfit("the artifact %s is a file in one of the artifact directory and KE1_ARTIFACTS, and a directory in the other",
					printable(parent))
			}
		}
	}
	return nil
}

// directory walks by names of one segment below an open directory, so that no link can lead it away.
func (w *walker) directory(fd int, prefix string) error {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: prefix, Err: err}
	}
	handle := os.NewFile(uintptr(again), prefix)
	defer handle.Close()
	for {
		names, err := handle.Readdirnames(1024)
		for _, name := range names {
			if err := w.entry(again, prefix, name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *walker) entry(dirFD int, prefix, name string) error {
	if w.entries++; w.entries > maxEntries {
		return unfit("there are more than %d files in the artifact directory: pack them into an archive", maxEntries)
	}
	full := prefix + name
	var stat unix.Stat_t
	if err := unix.Fstatat(dirFD, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("the artifact %s changed while it was exported: %w", printable(full), err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if problem := w.nameProblem(full); problem != "" {
			return unfit("the artifact %s cannot be stored: its name %s", printable(full), problem)
		}
		w.inventory.files = append(w.inventory.files, file{w.dir, full, stat.Size, stat.Mode&unix.S_IXUSR != 0, identityOf(&stat)})
	case unix.S_IFDIR:
		if strings.Count(full, "/") >= w.segments {
			return unfit("the artifact directory is nested too deeply at %s", printable(full))
		}
		fd, err := unix.Openat(dirFD, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return unfit("the artifact directory's %s cannot be read: %v", printable(full), err)
		}
		defer unix.Close(fd)
		return w.directory(fd, full+"/")
	case unix.S_IFLNK:
		w.link(dirFD, name, full)
	default:
		w.skip(full, map[uint32]string{
			unix.S_IFIFO: "FIFO", unix.S_IFSOCK: "socket", unix.S_IFBLK: "block device", unix.S_IFCHR: "character device",
		}[stat.Mode&unix.S_IFMT])
	}
	return nil
}

func (w *walker) link(dirFD int, name, full string) {
	buffer := make([]byte, 4096)
	n, err := unix.Readlinkat(dirFD, name, buffer)
	if err != nil || n == len(buffer) {
		w.skip(full, "symbolic link that cannot be read")
		return
	}
	target := string(buffer[:n])
	switch {
	case w.nameProblem(full) != "":
		w.skip(full, "symbolic link whose name "+w.nameProblem(full))
	case textProblem(target) != "":
		w.skip(full, "symbolic link whose target "+textProblem(target))
	case path.IsAbs(target):
		w.skip(full, "symbolic link to an absolute path")
	case !staysInside(full, target):
		w.skip(full, "symbolic link that leaves the artifact directory")
	default:
		w.inventory.Links = append(w.inventory.Links, contract.Link{Name: full, Target: target})
	}
}

// staysInside reports whether the link's target is below the artifact directory. ".." is only taken at the beginning, where
// it goes up from the link's own directory, which is real: after a name, which may be a link itself, it could lead anywhere.
func staysInside(link, target string) bool {
	depth := strings.Count(link, "/")
	named := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; named || depth < 0 {
				return false
			}
		default:
			named = true
		}
	}
	return true
}

func (w *walker) skip(name, reason string) {
	w.inventory.Skipped = append(w.inventory.Skipped, contract.Skipped{Name: printable(name), Reason: reason})
}

// nameProblem says why a name cannot be a blob's, a file's on every system, and a line in a list.
func (w *walker) nameProblem(name string) string {
	switch {
	case textProblem(name) != "":
		return textProblem(name)
	case units(name) > w.room:
		return fmt.Sprintf("is too long: %d characters are left for it", w.room)
	case strings.Count(name, "/")+1 > w.segments:
		return "has too many directories"
	}
	for segment := range strings.SplitSeq(name, "/") {
		// The service drops it: two artifacts could become one blob.
		if strings.HasSuffix(segment, ".") {
			return "has a part that ends with a dot"
		}
	}
	return ""
}

func textProblem(text string) string {
	switch {
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case strings.ContainsRune(text, '\\'):
		return "has a backslash, which the store takes for a slash"
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == '\ufffe' || r == '\uffff' }):
		return "has control characters"
	}
	return ""
}

func units(text string) int {
	n := 0
	for _, r := range text {
		n += utf16.RuneLen(r)
	}
	return n
}

// printable is the name itself when it is harmless in a line of text, else quoted.
func printable(name string) string {
	if textProblem(name) == "" && len(name) <= 1024 {
		return name
	}
	if len(name) > 1024 {
		name = name[:1024] + "..."
	}
	return strconv.Quote(name)
}
