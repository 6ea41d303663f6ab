// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/files"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// filesFront builds plain files and programs.
type filesFront struct {
	a     *app
	rules fileRules
	plain bool
}

// fileRules are what flags, or the end of an argument, say of files.
type fileRules struct {
	chown, chmod                    string
	keepTimes, keepOwner, keepModes bool
}

func (*filesFront) words() (use, short, long, example string) {
	return "files SRC[:DEST]...", "Build an image of files and of programs that are compiled already", `Put files, directories and programs into an image, each as a layer. What is in
a directory goes into DEST, or into the root; a file becomes DEST, or goes into
it if that ends with / or is a directory of the base; a program without a DEST
becomes /app/NAME.

Programs of Linux and Windows say for which platform they are. If there is one,
the image starts it. {os}, {arch} and {variant} in SRC stand for those of each
platform, also as goreleaser writes them (app_linux_arm64_v8.0), and several
platforms make an index. A program that the base cannot load is an error, one
of its libraries that is nowhere a note. Without --from static programs are put
on a base that has certificates, time zones and a user, and nothing else.

Files without programs are put on all Linux images of the base, or on those for
--platform.

All belongs to root, says 1970, and has the mode 0644, or 0755 if somebody may
execute it: the same files make the same image whoever builds it. The flags say
otherwise for all of SRC; for one of them its end does, with
,chown=UID:GID ,chmod=MODE ,keep-owner ,keep-times ,keep-modes.`,
		`  dray build files ./app -t registry.example/app:1
  dray build files ./dist/app_{os}_{arch} --push -t registry.example/app:1
  dray build files ./server ./public:/srv,chown=101:101 --from debian:12-slim -t registry.example/site:1`
}

func (x *filesFront) add(f *pflag.FlagSet) {
	f.StringVar(&x.rules.chown, "chown", "", "files: all belongs to `UID:GID` (default 0:0)")
	f.StringVar(&x.rules.chmod, "chmod", "", "files: change modes as chmod does, as 0644 or go=: `MODE`")
	f.BoolVar(&x.rules.keepOwner, "keep-owner", false, "files: keep owners, and setuid and setgid with them")
	f.BoolVar(&x.rules.keepTimes, "keep-times", false, "files: keep times (default: all are --time, or 1970)")
	f.BoolVar(&x.rules.keepModes, "keep-modes", false, "files: keep modes (default: 0644, or 0755 if somebody may execute it)")
	f.BoolVar(&x.plain, "no-detect", false, "files: take programs for plain files, whatever they are for")
}

// takes reports whether it is a program, or a template for the names of several.
func (x *filesFront) takes(path string) bool {
	p, err := x.place(path)
	return err == nil && (files.IsTemplate(p.From) || files.IsProgram(p.From))
}

func (x *filesFront) jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error) {
	if len(args) == 0 {
		return nil, usage(c, errors.New("what is to be put into the image? SRC, or SRC:DEST"))
	}
	var places []files.Place
	for _, s := range args {
		p, err := x.place(s)
		if err != nil {
			return nil, usage(c, err)
		}
		places = append(places, p)
	}
	j, err := o.job(files.New(places, files.Options{Plain: x.plain, Started: c.Flags().Changed("entrypoint")}), o.edit.Targets...)
	return []dray.BuildJob{j}, err
}

// place reads SRC, or SRC:DEST, and the rules at its end.
func (x *filesFront) place(s string) (p files.Place, err error) {
	rules := x.rules
	if s, err = rules.cut(s); err != nil {
		return p, err
	}
	if p.From = s; strings.Contains(s, ":") && !isDrive(s) {
		in, err := dirLayer(s)
		if err != nil {
			return p, fmt.Errorf("%s: want SRC or SRC:DEST", oci.Quote(s))
		}
		p.From, p.To = in.Dir, in.At
		if m := unknownRule.FindStringSubmatch(p.To); m != nil {
			return p, fmt.Errorf("%s: there is no rule %s: there are ,chown= ,chmod= ,keep-owner ,keep-times and ,keep-modes", oci.Quote(s), oci.Quote(m[1]))
		}
	}
	if p.From == "" {
		return p, fmt.Errorf("%s: want SRC or SRC:DEST", oci.Quote(s))
	}
	p.Rules, p.KeepModes, err = rules.options()
	return p, err
}

// unknownRule is an end of a path that was meant to be a rule.
var unknownRule = regexp.MustCompile(`,([a-z][a-z-]*=|keep-[a-z]+$)[^/]*$`)

// isDrive reports whether the colon of a path is that of a drive.
func isDrive(s string) bool {
	if len(s) < 3 || s[1] != ':' || strings.Contains(s[2:], ":") {
		return false
	}
	_, err := os.Lstat(s[:1])
	return s[2] == '\\' && err != nil || s[2] == '/' && runtime.GOOS == "windows"
}

// cut takes rules off the end of an argument.
func (r *fileRules) cut(s string) (string, error) {
	for {
		n := -1
		for _, word := range []string{",chown=", ",chmod=", ",keep-owner", ",keep-times", ",keep-modes"} {
			if at := strings.LastIndex(s, word); at > n && (strings.HasSuffix(word, "=") || at+len(word) == len(s)) {
				n = at
			}
		}
		if n < 0 {
			return s, nil
		}
		word, value, _ := strings.Cut(s[n+1:], "=")
		switch s = s[:n]; word {
		case "chown":
			r.chown, r.keepOwner = value, false
		case "chmod":
			r.chmod = value
		case "keep-owner":
			r.keepOwner, r.chown = true, ""
		case "keep-times":
			r.keepTimes = true
		case "keep-modes":
			r.keepModes = true
		}
		if value == "" && strings.HasPrefix(word, "ch") {
			return "", fmt.Errorf("%s: %s= says nothing", oci.Quote(s), word)
		}
	}
}

// options are the rules as package layer has them.
func (r *fileRules) options() (o layer.CreateOptions, keepModes bool, err error) {
	o = layer.CreateOptions{KeepTime: r.keepTimes, KeepOwner: r.keepOwner}
	if o.Mode, err = layer.ParseMode(r.chmod); err != nil {
		return o, false, fmt.Errorf("--chmod: %w", err)
	}
	if r.chown == "" {
		return o, r.keepModes, nil
	}
	if r.keepOwner {
		return o, false, errors.New("--chown and --keep-owner exclude each other")
	}
	o.Owner, err = parseOwner(r.chown)
	return o, r.keepModes, err
}
