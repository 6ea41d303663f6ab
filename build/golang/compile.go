// SPDX-License-Identifier: Apache-2.0

package golang

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/input"
	"github.com/dray-tools/dray/internal/temp"
	"github.com/dray-tools/dray/oci"
)

// A program is one that is compiled, for each platform once.
type program struct {
	*Program
	o    *Options
	caps string // of its file, as the kernel keeps them; "": none

	mu   sync.Mutex
	made map[string]*made // by what variables says of the platform
}

// A made is a program for a platform.
type made struct {
	once sync.Once
	err  error

	name  string // of its file in the image
	file  io.ReaderAt
	size  int64
	sum   string // sha256, hexadecimal
	info  *debug.BuildInfo
	words words // as the description of the build tells of them
	input *input.Input
}

// build compiles the program for a platform. Images for several versions of
// Windows have the same.
func (x *program) build(ctx context.Context, e *build.Engine, p oci.Platform) (*made, error) {
	env, err := variables(p)
	if err != nil {
		return nil, err
	}
	key := strings.Join(env, " ")
	x.mu.Lock()
	m := x.made[key]
	if m == nil {
		m = &made{name: x.Name}
		if p.OS == "windows" {
			m.name += ".exe"
		}
		x.made[key] = m
	}
	x.mu.Unlock()
	m.once.Do(func() {
		what := x.ImportPath + " for " + oci.FormatPlatform(p)
		if m.err = x.compile(ctx, e, m, what, env); m.err != nil {
			m.err = oci.Wrap("", what, m.err)
			return
		}
		caps := x.caps
		if p.OS != "linux" {
			caps = ""
		}
		m.input = m.layer("go "+x.ImportPath, caps)
	})
	return m, m.err
}

// compile runs go build, which links only if there is something new, and opens
// what it has made.
func (x *program) compile(ctx context.Context, e *build.Engine, m *made, what string, platform []string) error {
	env := append(append([]string{}, x.env(x.o)...), platform...)
	w := x.words(x.o)
	data, err := x.data(ctx, env, w, x.o.Date)
	if err != nil {
		return err
	}
	if m.words, err = w.fill(told(data)); err != nil {
		return err
	}
	full, err := w.fill(data)
	if err != nil {
		return err
	}
	if err := checkFlags("flags", full.flags); err != nil {
		return err
	}
	goflags, err := x.tool.run(ctx, x.work, env, "env", "GOFLAGS") // the environment's, or those of go env -w
	if err != nil {
		return err
	}
	if err := checkFlags("GOFLAGS", strings.FieldsFunc(string(goflags), func(r rune) bool { return strings.ContainsRune(" \t\r\n'\"", r) })); err != nil {
		return err
	}
	dir, done, err := x.place(ctx, e.Options(), w, env)
	if err != nil {
		return err
	}
	defer done()
	out := filepath.Join(dir, "out")
	if err := settle(dir, out); err != nil {
		return err
	}
	args := append([]string{"build", "-trimpath"}, full.flags...)
	if x.o.Plain {
		args = append(args, "-gcflags=all=-N -l")
	}
	if len(full.ldflags) > 0 {
		args = append(args, "-ldflags="+strings.Join(full.ldflags, " "))
	}
	if _, err := x.tool.show(ctx, what, x.work, env, append(args, "-o", out, x.ImportPath)...); err != nil {
		return err
	}
	if err := m.open(out, e.Options().TempDir); err != nil {
		return err
	}
	if err := m.inspect(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "done"), []byte(m.sum), 0o600)
}

// place is the directory that the program is written to: in the cache, or where
// nothing can be kept a temporary one. done has to be called.
func (x *program) place(ctx context.Context, o build.Options, w words, env []string) (dir string, done func(), err error) {
	if o.CacheDir != "" {
		if dir, done, err = x.kept(ctx, o.CacheDir, w, env); err == nil || ctx.Err() != nil {
			return dir, done, err
		}
	}
	dir, err = os.MkdirTemp(o.TempDir, "dray-go-*")
	return dir, func() { os.RemoveAll(dir) }, err
}

// kept is a directory that is the same again next time, and held until done is
// called: by one process at a time.
func (x *program) kept(ctx context.Context, cache string, w words, env []string) (dir string, done func(), err error) {
	here, err := filepath.Abs(x.work)
	if err != nil {
		return "", nil, err
	}
	key, err := json.Marshal([]any{here, x.ImportPath, x.tool.name, w.flags, w.ldflags, env, x.o.Plain, runtime.GOOS})
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(key)
	all := filepath.Join(cache, "go")
	dir = filepath.Join(all, hex.EncodeToString(sum[:16]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, lockPause); err != nil {
		return "", nil, err
	}
	prune(all, dir)
	return dir, func() { _ = lock.Unlock() }, nil
}

// settle removes a program that is not the one that was made there: what a
// process that was killed has left half written, or a disk has damaged. The go
// command would take it for whole, as it looks at its beginning alone.
func settle(dir, out string) error {
	mark := filepath.Join(dir, "done")
	want, err := os.ReadFile(mark)
	if have, serr := sumOf(out); err != nil || serr != nil || have != string(want) {
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	if err := os.Remove(mark); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// sumOf is the SHA-256 of a file, hexadecimal.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// open opens the program so that it stays as it is: the go command puts another
// file in its place.
func (m *made) open(path, tempDir string) error {
	f, err := os.Open(path)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "go build has made no program; is it one of its flags?")
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = oci.Errorf(oci.ErrInvalid, "go build has made no program")
	}
	if err != nil {
		f.Close()
		return err
	}
	m.file, m.size = f, info.Size()
	if runtime.GOOS != "windows" {
		return nil
	}
	defer f.Close() // there a file that is open is in the way
	t, err := temp.Create(tempDir)
	if err != nil {
		return err
	}
	runtime.AddCleanup(m, func(t *temp.File) { t.Close() }, t)
	m.file = t
	_, err = io.Copy(t, f)
	return err
}

// inspect reads what the go command wrote into the program.
func (m *made) inspect() (err error) {
	if m.info, err = buildinfo.Read(m.file); err != nil {
		return oci.Errorf(oci.ErrInvalid, "go build has made no program of Go: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(m.file, 0, m.size)); err != nil {
		return err
	}
	m.sum = hex.EncodeToString(h.Sum(nil))
	return nil
}

// fill fills in all templates.
func (w words) fill(data map[string]any) (out words, err error) {
	if out.flags, err = fill(w.flags, data); err == nil {
		out.ldflags, err = fill(w.ldflags, data)
	}
	out.untoldFlags, out.untoldLdflags = w.untoldFlags, w.untoldLdflags
	return out, err
}

// last is the value of a variable that counts.
func last(env []string, name string) (value string) {
	for _, line := range env {
		if k, v, ok := strings.Cut(line, "="); ok && k == name {
			value = v
		}
	}
	return value
}
