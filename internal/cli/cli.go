// SPDX-License-Identifier: Apache-2.0

// Package cli is the command: flags, output, progress, hints and exit codes.
// Each command has a file of its own and makes one call of the library.
//
// Output rules: stdout carries the result and nothing else; everything else
// goes to stderr, where a terminal gets progress bars and anything else plain
// lines. -q keeps stderr for errors.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/internal/credential"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// World is what the command sees of the system.
type World struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	UID      int
	GOOS     string
}

// System is the real one.
func System() World {
	return World{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, UID: os.Getuid(), GOOS: runtime.GOOS}
}

// app is one run of the command: the world and the flags that every command
// has.
type app struct {
	World
	quiet, verbose    bool
	authFile, certDir string
	trustRealms       []string
	rate              float64

	log    *slog.Logger
	env    dray.Env
	client *dray.Client
	bars   *bars  // set while progress bars are on the terminal
	dir    string // for what goes at the end of the run; "": none yet
}

// scratch is a directory that goes at the end of the run.
func (a *app) scratch() (dir string, err error) {
	if a.dir == "" {
		a.dir, err = os.MkdirTemp(a.env.TempDir, "dray-*")
	}
	return a.dir, err
}

// Main runs the command and returns its exit code.
func Main(args []string, w World) int {
	ctx, stop := interruptible()
	defer stop()
	return run(ctx, args, w)
}

var errInterrupted = errors.New("interrupted")

// interruptible ends its context at the first interrupt, and the process at
// the second.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write fails instead, so that what has begun is cleaned up
	go func() {
		if _, ok := <-c; !ok {
			return
		}
		cancel(errInterrupted)
		if _, ok := <-c; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(c); close(c); cancel(nil) }
}

func run(ctx context.Context, args []string, w World) int {
	a := &app{World: w}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(w.In)
	cmd.SetOut(w.Out)
	cmd.SetErr(w.Err)
	cmd.SetContext(ctx)
	c, err := cmd.ExecuteC()
	if a.client != nil {
		a.client.Close()
	}
	if a.dir != "" {
		_ = os.RemoveAll(a.dir)
	}
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Path == os.Stdout.Name() && errors.Is(err, syscall.EPIPE) {
		return exitOther // who reads has had enough
	}
	if cause := interruption(ctx, err); cause != nil {
		if err = cause; c.Name() == "copy" && resumes(c.Flags().Args()) {
			err = hinted{err, "the same command again goes on where this one stopped"}
		}
	}
	return a.tell(err)
}

// interruption is why a run was ended from outside; nil: it was not. A child can
// end by the terminal's interrupt a moment before this process has heard of it.
func interruption(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		if s, ok := e.Sys().(syscall.WaitStatus); ok && s.Signaled() && (s.Signal() == syscall.SIGINT || s.Signal() == syscall.SIGTERM) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return context.Cause(ctx)
}

// tell prints an error, and returns its exit code.
func (a *app) tell(err error) int {
	if err == nil {
		return exitDone
	}
	code, hint := explain(err)
	for _, line := range messages(err) {
		fmt.Fprintln(a.Err, "dray: "+line)
	}
	if hint != "" {
		fmt.Fprintln(a.Err, "hint: "+hint)
	}
	return code
}

// resumes reports whether the place that was copied to keeps half blobs.
func resumes(list []string) bool {
	if len(list) == 0 {
		return true
	}
	r, err := ref.ParseAny(list[len(list)-1])
	return err == nil && (r.Scheme == ref.Registry || r.Scheme == ref.Layout)
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dray",
		Short: "Move, edit, inspect and serve container images, with registry operations alone",
		Long: `Dray moves, edits, inspects and serves container images with registry
operations alone: no daemon, no root, and no byte moved that need not move.

References: ghcr.io/a/b:1, busybox (docker.io/library/busybox:latest),
ghcr.io/a/b@sha256:…, docker://…, oci:DIR[:NAME], oci-archive:FILE[:NAME],
docker-archive:FILE[:NAME], dir:DIR, docker-daemon:NAME,
containers-storage:NAME. FILE - is a pipe; :@N instead of :NAME is the Nth.

Exit codes: 0 done, 1 other, 2 usage or invalid input, 3 not found,
4 credentials, 5 corrupt, 6 already exists, 7 host busy or unreachable,
130 interrupted.

Environment: DRAY_CACHE (where what need not be done again is kept: interrupted
transfers, layers that were packed, the lists of files of layers), TMPDIR,
DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME,
CONTAINERS_REGISTRIES_CONF, SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY,
HTTP_PROXY, NO_PROXY, DOCKER_HOST, DOCKER_CERT_PATH, DOCKER_TLS_VERIFY,
SOURCE_DATE_EPOCH, NO_COLOR, VISUAL, EDITOR.`,
		Version:       dray.Version(),
		Args:          func(c *cobra.Command, list []string) error { return unknown(c, list) },
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.setUp() },
	}
	f := cmd.PersistentFlags()
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but results and errors")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log every request (without secrets)")
	f.StringVar(&a.authFile, "authfile", "", "credentials `FILE` (default: what Docker and Podman use)")
	f.StringVar(&a.certDir, "cert-dir", "", "`DIR` of CA and client certificates (default: certs.d of Docker and Podman)")
	f.StringSliceVar(&a.trustRealms, "trust-realm", nil, "`HOST` of a token service that may see a registry's credentials")
	f.Float64Var(&a.rate, "rate", 0, "requests a second to each host, `N` at most (default: no limit)")
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	addGroup(cmd, "Move and change:", a.copyCommand(), a.pullCommand(), a.pushCommand(), a.exportCommand(), a.unpackCommand(), a.packCommand(), a.tagCommand(), a.deleteCommand())
	addGroup(cmd, "Edit:", a.appendCommand(), a.mutateCommand(), a.editCommand(), a.rebaseCommand(), a.flattenCommand(), a.squashCommand(), a.indexCommand())
	addGroup(cmd, "Build:", a.buildCommand())
	addGroup(cmd, "Kubernetes:", a.resolveCommand(), a.applyCommand(), a.createCommand(), a.runCommand())
	addGroup(cmd, "Look:", a.inspectCommand(), a.digestCommand(), a.manifestCommand(), a.configCommand(), a.blobCommand(),
		a.referrersCommand(), a.lsCommand(), a.catalogCommand(), a.filesCommand(), a.catCommand(), a.validateCommand(), a.diffCommand())
	addGroup(cmd, "Registries:", a.loginCommand(), a.logoutCommand(), a.serveCommand())
	addGroup(cmd, "Dray itself:", a.versionCommand(), completionCommand())
	cmd.SetHelpCommand(helpCommand())
	cmd.SetHelpCommandGroupID("Dray itself:")
	return cmd
}

func helpCommand() *cobra.Command {
	run := func(c *cobra.Command, list []string) error {
		about, rest, _ := c.Root().Find(list)
		if len(rest) > 0 {
			return unknown(about, rest)
		}
		return about.Help()
	}
	return &cobra.Command{Use: "help [COMMAND]", Short: "Say more about a command", PersistentPreRunE: noSetUp, RunE: run}
}

// addGroup adds commands that the help shows together.
func addGroup(cmd *cobra.Command, title string, list ...*cobra.Command) {
	cmd.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range list {
		c.GroupID = title
	}
	cmd.AddCommand(list...)
}

// setUp makes the run's client of flags, files and environment.
func (a *app) setUp() error {
	if !(a.rate >= 0) {
		return usageError{fmt.Errorf("--rate %v: want 0 or more requests a second", a.rate)}
	}
	for _, h := range a.trustRealms {
		if _, err := ref.ParseHost(h); err != nil {
			return usageError{fmt.Errorf("--trust-realm: %w", err)}
		}
	}
	level := slog.LevelWarn
	switch {
	case a.verbose:
		level = slog.LevelDebug
	case a.quiet:
		level = slog.LevelError
	}
	a.log = slog.New(&logHandler{app: a, level: level})
	env, err := a.system().Env()
	if err != nil {
		return err
	}
	env.TrustedRealms, env.RatePerHost = a.trustRealms, a.rate
	a.env, a.client = env, dray.New(env)
	return nil
}

func (a *app) system() dray.System {
	return dray.System{Getenv: a.Getenv, UID: a.UID, GOOS: a.GOOS, In: a.In, Out: a.Out, Log: a.log, AuthFile: a.authFile, CertDir: a.certDir}
}

func (a *app) credentials() *credential.Store { return a.system().Credentials() }

// usageError is a mistake in the command line.
type usageError struct{ error }

func usage(c *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w (see %q)", err, c.CommandPath()+" --help")}
}

// args checks the number of arguments, as a usage error.
func args(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, list []string) error {
		if n := len(list); n < least || most >= 0 && n > most {
			return usage(c, wrongCount(c, n))
		}
		return nil
	}
}

func wrongCount(c *cobra.Command, n int) error {
	_, want, _ := strings.Cut(c.Use, " ")
	if want == "" {
		want = "no arguments"
	}
	return fmt.Errorf("%s: want %s, got %s", c.Name(), want, count(n, "argument"))
}

// unknown is for words that are no command.
func unknown(c *cobra.Command, list []string) error {
	if len(list) == 0 {
		return nil
	}
	text := "no command " + oci.Quote(list[0])
	if near := c.SuggestionsFor(list[0]); len(near) > 0 {
		text += "; is it " + strings.Join(near, " or ") + "?"
	}
	return usage(c, errors.New(text))
}
