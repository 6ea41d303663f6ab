// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"
)

// A dockerfileCase is one file of testdata/dockerfiles; README.md there says how
// they are written.
type dockerfileCase struct {
	name  string
	prose string
	args  []string // of both
	dray  []string // of dray alone
	base  string   // what the image lies on
	only  string   // why buildah is not asked

	fails   string // what dray says
	accepts bool   // and buildah builds it
	refuses bool   // buildah does, and dray builds it
	notes   []string
	runs    string // what the image prints
	engine  string // "no": it cannot run here
	layers  bool   // the history is compared, too
	parts   map[string]string
	known   []difference
	files   []txtar.File
}

// A difference is known, and has a reason.
type difference struct {
	what, why string
	seen      bool
}

func readCases(t *testing.T) []*dockerfileCase {
	t.Helper()
	list, err := filepath.Glob("testdata/dockerfiles/*.txtar")
	if err != nil || len(list) == 0 {
		t.Fatal(err, "no cases")
	}
	var all []*dockerfileCase
	for _, file := range list {
		c, err := readCase(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, c)
	}
	return all
}

func readCase(file string) (*dockerfileCase, error) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	c := &dockerfileCase{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), base: "base", parts: map[string]string{}}
	for line := range strings.Lines(string(a.Comment)) {
		if err := c.header(strings.TrimSpace(line)); err != nil {
			return nil, err
		}
	}
	for _, f := range a.Files {
		part, ok := strings.CutPrefix(f.Name, "=")
		if !ok {
			c.files = append(c.files, f)
			continue
		}
		text := strings.TrimSpace(string(f.Data))
		if part != "differs" {
			c.parts[part] = text
			continue
		}
		for line := range strings.SplitSeq(text, "\n") {
			what, why, ok := strings.Cut(line, ": ")
			if !ok {
				return nil, fmt.Errorf("%q gives no reason", line)
			}
			c.known = append(c.known, difference{what: what, why: why})
		}
	}
	return c, nil
}

// header reads a line before the files: what to do, or prose.
func (c *dockerfileCase) header(line string) error {
	key, value, _ := strings.Cut(line, ": ")
	switch key {
	case "args":
		c.args = append(c.args, strings.Fields(value)...)
	case "dray":
		c.dray = append(c.dray, strings.Fields(value)...)
	case "base":
		c.base = value
	case "only dray":
		c.only = value
	case "fails":
		c.fails = value
	case "buildah accepts":
		c.accepts = true
		c.known = append(c.known, difference{what: "buildah accepts it", why: value})
	case "buildah refuses":
		c.refuses = true
		c.known = append(c.known, difference{what: "buildah refuses it", why: value})
	case "note":
		c.notes = append(c.notes, value)
	case "runs":
		c.runs = value
	case "engine":
		c.engine = value
	case "history":
		c.layers = value == "compared"
	default:
		if !strings.Contains(line, " ") && line != "" {
			return fmt.Errorf("what is %q?", line)
		}
		c.prose += line + "\n"
	}
	return nil
}

// lay writes the context of a case below the lab's directory, and returns it.
func (c *dockerfileCase) lay(t *testing.T, l *lab) string {
	t.Helper()
	dir := filepath.Join(l.dir, "cases", c.name, "context")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range c.files {
		name, err := c.write(l, dir, f)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		all = append(all, name)
	}
	slices.Reverse(all)
	at := unix.NsecToTimespec(baseTime.UnixNano())
	for _, name := range all { // what is in a directory before it
		for ; strings.HasPrefix(name, filepath.Dir(dir)); name = filepath.Dir(name) {
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text, ok := c.parts["git"]; ok {
		gitRepository(t, filepath.Join(filepath.Dir(dir), text))
	}
	return dir
}

// write makes a file of a context. Its name may be followed by what it is:
//
//	a.sh 0755 5:6          mode and owner
//	dir/ 0700
//	a -> b                 a link
//	a = b                  another name
//	a.tar.gz tar           an archive of the list that it holds
//	a |                    a pipe
func (c *dockerfileCase) write(l *lab, dir string, f txtar.File) (string, error) {
	name, rest, _ := strings.Cut(f.Name, " ")
	if quoted, err := strconv.QuotedPrefix(f.Name); err == nil {
		name, rest = strings.Trim(quoted, `"`), strings.TrimSpace(f.Name[len(quoted):])
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	words := strings.Fields(rest)
	if len(words) == 2 && words[0] == "->" {
		return path, os.Symlink(words[1], path)
	}
	if len(words) == 2 && words[0] == "=" {
		return path, os.Link(filepath.Join(dir, words[1]), path)
	}
	if rest == "|" {
		return path, syscall.Mkfifo(path, 0o644)
	}
	data := []byte(l.expand(c, string(f.Data)))
	if rest == "tar" {
		plain, err := pack(string(f.Data), nil, baseTime)
		if err == nil {
			data, err = compress(name, plain)
		}
		if err != nil {
			return "", err
		}
		words = nil
	}
	mode, err := os.FileMode(0o644), error(nil)
	if strings.HasSuffix(name, "/") {
		mode, err = 0o755, os.MkdirAll(path, 0o755)
	} else {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		return "", err
	}
	if len(words) > 1 {
		var uid, gid int
		if _, err := fmt.Sscanf(words[1], "%d:%d", &uid, &gid); err != nil {
			return "", err
		}
		if err := os.Chown(path, uid, gid); err != nil {
			return "", err
		}
	}
	if len(words) > 0 {
		bits, err := strconv.ParseUint(words[0], 8, 32)
		if err != nil {
			return "", err
		}
		return path, syscall.Chmod(path, uint32(bits))
	}
	return path, os.Chmod(path, mode)
}

func compress(name string, plain []byte) ([]byte, error) {
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch filepath.Ext(name) {
	case ".gz", ".tgz":
		w = gzip.NewWriter(&buf)
	case ".xz":
		w, err = xz.NewWriter(&buf)
	case ".zst":
		w, err = zstd.NewWriter(&buf)
	case ".bz2":
		cmd := exec.Command("bzip2", "-c")
		cmd.Stdin = bytes.NewReader(plain)
		return cmd.Output()
	default:
		return plain, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	err = w.Close()
	return buf.Bytes(), err
}

// gitRepository makes a repository of a directory, for clients that only read
// files: DIR.git.
func gitRepository(t *testing.T, dir string) {
	t.Helper()
	git := need(t, "git")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(git, args...)
		cmd.Dir = dir
		stamp := "@" + strconv.FormatInt(baseTime.Unix(), 10) + " +0000"
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_DATE="+stamp, "GIT_COMMITTER_DATE="+stamp,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	run("init", "-q", "-b", "main")
	run("add", "-A")
	run("commit", "-q", "-m", "one")
	run("tag", "v1")
	run("clone", "-q", "--bare", dir, dir+".git")
	run("--git-dir", dir+".git", "update-server-info")
}
