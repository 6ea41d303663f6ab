// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

func (a *app) loginCommand() *cobra.Command {
	var side dray.Side
	var user string
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login HOST",
		Short: "Verify credentials with a registry and store them where Docker and Podman look",
		Long: `Verify credentials with a registry and store them in Docker's config.json, or
in the helper that it names, or in the file of --authfile. Nothing is stored
that the registry did not accept.`,
		Example: "  dray login ghcr.io -u me\n  pass show ghcr | dray login ghcr.io -u me --password-stdin",
		Args:    args(1, 1),
	}
	f := cmd.Flags()
	f.StringVarP(&user, "username", "u", "", "user `NAME`")
	f.BoolVar(&stdin, "password-stdin", false, "read the password or token from stdin")
	sideFlags(f, &side, "", "the registry")
	cmd.RunE = func(c *cobra.Command, list []string) error {
		r, err := ref.ParseHost(list[0])
		if err != nil {
			return err
		}
		cred, err := a.ask(c, user, stdin)
		if err != nil {
			return err
		}
		if err := a.client.Login(c.Context(), r.Host, side, cred); err != nil {
			if err = oci.Wrap("login", r.Host, err); errors.Is(err, oci.ErrUnauthorized) || errors.Is(err, oci.ErrDenied) {
				return hinted{err, "the registry did not take these credentials; nothing was stored"}
			}
			return err
		}
		if err := a.credentials().Save(c.Context(), r.Host, cred); err != nil {
			return err
		}
		a.note("logged in to %s as %s", r.Host, cred.Username)
		return nil
	}
	return cmd
}

// ask gets the user name and the password, from flags, stdin or the terminal.
func (a *app) ask(c *cobra.Command, user string, stdin bool) (cred dray.Credential, err error) {
	tty, isFile := a.In.(*os.File)
	interactive := isFile && term.IsTerminal(int(tty.Fd()))
	in := bufio.NewReader(io.LimitReader(a.In, 64<<10))
	switch {
	case user == "" && (stdin || !interactive):
		return cred, usage(c, errors.New("no user name: -u gives it"))
	case user == "":
		fmt.Fprint(a.Err, "Username: ")
		if user, err = in.ReadString('\n'); err != nil {
			return cred, err
		}
	}
	cred.Username = strings.TrimSpace(user)
	switch {
	case stdin:
		raw, err := io.ReadAll(in)
		cred.Password = strings.TrimRight(string(raw), "\r\n")
		return cred, checkPassword(c, cred.Password, err)
	case !interactive:
		return cred, usage(c, errors.New("no terminal to ask for the password: use --password-stdin"))
	}
	fmt.Fprint(a.Err, "Password: ")
	raw, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(a.Err)
	cred.Password = string(raw)
	return cred, checkPassword(c, cred.Password, err)
}

func checkPassword(c *cobra.Command, s string, err error) error {
	if err == nil && s == "" {
		err = usage(c, errors.New("the password is empty"))
	}
	return err
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "logout HOST",
		Short:   "Remove stored credentials",
		Example: "  dray logout ghcr.io",
		Args:    args(1, 1),
		RunE: func(c *cobra.Command, list []string) error {
			r, err := ref.ParseHost(list[0])
			if err != nil {
				return err
			}
			if err := a.credentials().Erase(c.Context(), r.Host); err != nil {
				return err
			}
			a.note("removed credentials for %s", r.Host)
			return nil
		},
	}
}
