// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"time"

	"github.com/dray-tools/dray/internal/transport"
	"github.com/dray-tools/dray/oci"
)

const (
	maxAnswer  = 64 << 10
	keepAnswer = 5 * time.Minute // helpers prompt, or ask a cloud; a run asks for many repositories
)

// answer is what a helper said about a server, or will say to the one who
// holds turn.
type answer struct {
	turn chan struct{} // of capacity one
	cred transport.Credential
	err  error
	at   time.Time // zero: not asked yet
}

// wireHelper is what helpers read and write
// (github.com/docker/docker-credential-helpers, "Development").
type wireHelper struct {
	ServerURL string
	Username  string
	Secret    string
}

// ask gets a credential from a helper, or from what it said before. What goes
// wrong is a problem of the host and not an error, unless ctx ended.
func (s *Store) ask(ctx context.Context, host, name, server string) (transport.Credential, error) {
	s.mu.Lock()
	a := s.answers[name+" "+server]
	if a == nil {
		a = &answer{turn: make(chan struct{}, 1)}
		s.answers[name+" "+server] = a
	}
	s.mu.Unlock()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return transport.Credential{}, context.Cause(ctx)
	}
	if age := s.opts.Now().Sub(a.at); a.at.IsZero() || age < 0 || age >= keepAnswer {
		cred, err := s.helperGet(ctx, name, server)
		if ctx.Err() != nil {
			return transport.Credential{}, context.Cause(ctx)
		}
		a.cred, a.err, a.at = cred, err, s.opts.Now()
	}
	if a.err != nil {
		s.problem(host, a.err.Error())
		return transport.Credential{}, nil
	}
	return a.cred, nil
}

// forget drops what helpers and files said, after something was written.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.files)
	clear(s.answers)
}

// helperGet asks a helper; the zero credential if it has none.
func (s *Store) helperGet(ctx context.Context, name, server string) (transport.Credential, error) {
	out, err := s.runHelper(ctx, name, "get", []byte(server))
	if errors.Is(err, errNone) {
		return transport.Credential{}, nil
	}
	if err != nil {
		return transport.Credential{}, err
	}
	var w wireHelper
	switch {
	case json.Unmarshal(out, &w) != nil:
		return transport.Credential{}, oci.Errorf(oci.ErrUnauthorized, "%s: its answer is not a JSON object of strings", program(name))
	case w.Secret == "":
		return transport.Credential{}, nil
	case w.Username == "<token>":
		return transport.Credential{IdentityToken: w.Secret}, nil
	}
	return transport.Credential{Username: w.Username, Password: w.Secret}, nil
}

func (s *Store) helperStore(ctx context.Context, name, server string, c transport.Credential) error {
	w := wireHelper{ServerURL: server, Username: c.Username, Secret: c.Password}
	if c.IdentityToken != "" {
		w.Username, w.Secret = "<token>", c.IdentityToken
	}
	if w.Secret == "" {
		return oci.Errorf(oci.ErrUnsupported, "%s cannot keep a registry token", program(name))
	}
	in, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = s.runHelper(ctx, name, "store", in)
	return err
}

func (s *Store) helperErase(ctx context.Context, name, server string) error {
	_, err := s.runHelper(ctx, name, "erase", []byte(server))
	if errors.Is(err, errNone) {
		return nil
	}
	return err
}

// program is the file name of a helper, for messages.
func program(name string) string { return printable("docker-credential-" + name) }

func printable(s string) string {
	q := oci.Quote(s)
	return q[1 : len(q)-1]
}

// errNone is the answer that there is no credential.
var errNone = errors.New("credentials not found")

// runHelper runs one command of a helper. It gets HelperTimeout, then its
// whole process group is killed. Errors are ErrUnauthorized and name it.
func (s *Store) runHelper(ctx context.Context, name, verb string, in []byte) ([]byte, error) {
	fail := func(format string, args ...any) ([]byte, error) {
		return nil, oci.Errorf(oci.ErrUnauthorized, "credential helper %s: %w", program(name), oci.Errorf(oci.ErrUnauthorized, format, args...))
	}
	if !plainName(name) {
		return fail("not a plain file name")
	}
	path, err := s.opts.LookPath("docker-credential-" + name)
	if err != nil {
		return fail("not found in PATH")
	}
	short, cancel := context.WithTimeout(ctx, s.opts.HelperTimeout)
	defer cancel()
	stdout, stderr := &capped{limit: maxAnswer, full: cancel}, &capped{limit: 4 << 10}
	cmd := exec.CommandContext(short, path, verb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(in), stdout, stderr, s.opts.Env
	cmd.WaitDelay = 2 * time.Second // a child that inherited the pipes must not hold them for ever
	ownGroup(cmd)
	err = cmd.Run()
	exit := (*exec.ExitError)(nil)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case stdout.over:
		return fail("its answer has more than %d bytes", maxAnswer)
	case errors.Is(short.Err(), context.DeadlineExceeded):
		return fail("no answer within %s", s.opts.HelperTimeout)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return stdout.buf.Bytes(), nil
	case !errors.As(err, &exit):
		return fail("%w", err)
	case said(stdout, errNone.Error()) || said(stderr, errNone.Error()):
		return nil, errNone
	}
	if text := reason(stdout, stderr); text != "" {
		return fail("%s: %s", exit.ProcessState, oci.Quote(text))
	}
	return fail("%s", exit.ProcessState)
}

// plainName keeps a helper from being anything but a file in PATH.
func plainName(name string) bool {
	return name != "" && len(name) <= 128 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && name[0] != '.'
}

func said(c *capped, text string) bool {
	return strings.Contains(strings.ToLower(c.buf.String()), text)
}

// reason is the first line that a failed helper wrote, if it cannot be a part
// of a credential.
func reason(outs ...*capped) string {
	for _, c := range outs {
		if line, _, _ := strings.Cut(strings.TrimSpace(c.buf.String()), "\n"); line != "" && !strings.ContainsAny(line, "{}") {
			return line
		}
	}
	return ""
}

// capped keeps the first bytes of an output. With full set, which is called
// then, more is an error to the writer.
type capped struct {
	buf   bytes.Buffer
	limit int
	full  func()
	over  bool
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.limit - c.buf.Len()
	if len(p) <= room {
		return c.buf.Write(p)
	}
	c.buf.Write(p[:room])
	c.over = true
	if c.full == nil {
		return len(p), nil
	}
	c.full()
	return 0, oci.Errorf(oci.ErrInvalid, "more than %d bytes", c.limit)
}
