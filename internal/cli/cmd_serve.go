// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/serve"
	"github.com/dray-tools/dray/store/layout"
	"github.com/dray-tools/dray/store/mem"
)

type serveFlags struct {
	addr, htpasswd  string
	tlsCert, tlsKey string
	readOnly        bool
	accessLog       bool
}

func (a *app) serveCommand() *cobra.Command {
	var o serveFlags
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Serve a directory of OCI layouts, or memory, as a registry",
		Long: `Serve the OCI distribution protocol: with DIR a tree of OCI layouts, one
repository each, that other tools can read; without it memory, which is gone at
the end. Prints the address on stdout once it listens.`,
		Example: `  dray serve ./images --addr 127.0.0.1:5000
  dray serve ./images --read-only --htpasswd users --tls-cert c.pem --tls-key k.pem
  dray serve gc ./images`,
		Args: args(0, 1),
		RunE: func(c *cobra.Command, list []string) error { return a.serve(c.Context(), list, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", "127.0.0.1:5000", "`HOST:PORT` to listen on; port 0 takes a free one")
	f.BoolVar(&o.readOnly, "read-only", false, "refuse all that changes anything")
	f.StringVar(&o.htpasswd, "htpasswd", "", "`FILE` of users and bcrypt hashes (htpasswd -B) that are let in")
	f.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` of the certificate chain (PEM) for https")
	f.StringVar(&o.tlsKey, "tls-key", "", "`FILE` of the certificate's key (PEM)")
	f.BoolVar(&o.accessLog, "access-log", false, "log each request to stderr")
	cmd.AddCommand(a.gcCommand())
	return cmd
}

func (a *app) serve(ctx context.Context, list []string, o serveFlags) error {
	so := serve.Options{ReadOnly: o.readOnly}
	var catalog oci.Catalog = mem.New()
	if len(list) > 0 {
		if fi, err := os.Stat(list[0]); err == nil && !fi.IsDir() {
			return oci.Errorf(oci.ErrInvalid, "%s is not a directory", list[0])
		} else if o.readOnly && err != nil {
			return err
		}
		catalog = layout.Tree(list[0], layout.Options{Create: !o.readOnly, ReadOnly: o.readOnly})
		if !o.readOnly {
			so.UploadDir = filepath.Join(list[0], ".uploads")
		}
	}
	level := slog.LevelWarn // of the log, where requests are at info
	if o.accessLog || a.verbose {
		level = slog.LevelInfo
	}
	so.Log = slog.New(&logHandler{app: a, level: level})
	srv := &serve.Server{Log: so.Log}
	if err := o.secure(&so, srv); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.addr); err != nil {
		return oci.Errorf(oci.ErrInvalid, "--addr %s: want HOST:PORT", oci.Quote(o.addr))
	}
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return oci.Errorf(oci.ErrBusy, "%w", err)
	}
	srv.Handler = serve.New(catalog, so)
	if host, _, _ := net.SplitHostPort(l.Addr().String()); o.htpasswd == "" && !o.readOnly && !net.ParseIP(host).IsLoopback() {
		a.line("warning: everybody who can reach " + l.Addr().String() + " can write here; --htpasswd or --read-only changes that")
	}
	fmt.Fprintln(a.Out, l.Addr())
	if err = srv.Serve(ctx, l); errors.Is(context.Cause(ctx), errInterrupted) {
		return nil // the way to stop it
	}
	return err
}

// secure reads users and certificates.
func (o serveFlags) secure(so *serve.Options, srv *serve.Server) error {
	if o.htpasswd != "" {
		f, err := os.Open(o.htpasswd)
		if err != nil {
			return err
		}
		defer f.Close()
		if so.Auth, err = serve.Htpasswd(f); err != nil {
			return oci.Wrap("", o.htpasswd, err)
		}
	}
	switch {
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return oci.Errorf(oci.ErrInvalid, "--tls-cert and --tls-key go together")
	case o.tlsCert == "":
		return nil
	}
	pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return oci.Errorf(oci.ErrInvalid, "certificate: %w", err)
	}
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return nil
}

func (a *app) gcCommand() *cobra.Command {
	var o layout.GCOptions
	cmd := &cobra.Command{
		Use:   "gc DIR",
		Short: "Remove what no tag leads to from a directory of layouts",
		Long: `Remove blobs and manifests that nothing leads to and that are older than the
grace time. It may run while the directory is served and written.`,
		Example: "  dray serve gc ./images --dry-run",
		Args:    args(1, 1),
	}
	f := cmd.Flags()
	f.DurationVar(&o.Grace, "grace", 24*time.Hour, "spare what is younger; must be longer than the longest copy; 0 only if nothing writes")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would go and remove nothing")
	format := addFormat(f)
	cmd.RunE = func(c *cobra.Command, list []string) error {
		if o.Grace == 0 {
			o.Grace = -1
		}
		r, err := layout.GC(c.Context(), list[0], o)
		if err != nil {
			return err
		}
		if !format.text() {
			return format.print(a.Out, r)
		}
		verb := "removed"
		if o.DryRun {
			verb = "would remove"
		}
		for _, x := range r.Removed {
			fmt.Fprintln(a.Out, printable(x.Path))
		}
		a.note("%s %s, %s; kept %d", verb, count(len(r.Removed), "object"), size(r.Bytes), r.Kept)
		return nil
	}
	return cmd
}
