// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
	"github.com/dray-tools/dray/ref"
)

// appendFlags are the flags of append.
type appendFlags struct {
	dray.AppendOptions
	edit                 editFlags
	config               mutateFlags
	chown, chmod         string
	keepTimes, keepOwner bool
}

func (a *app) addAppendFlags(f *pflag.FlagSet, o *appendFlags) {
	f.StringArrayVarP(&o.Bases, "base", "b", nil, "put the layers on `REF`, or scratch (several allowed)")
	f.VarP(layerFlag{&o.Layers, fileLayer, "FILE"}, "layer", "f", "append a tar, or REPOSITORY@DIGEST of a layer (several allowed, the lowest first)")
	f.Var(layerFlag{&o.Layers, dirLayer, "SRC:DEST"}, "dir", "append what is in the directory SRC, put into DEST of the image; a file becomes DEST, or goes into it if that ends with / or is a directory of the base")
	f.StringVar(&o.chown, "chown", "", "with --dir: all belongs to `UID:GID` (default 0:0)")
	f.StringVar(&o.chmod, "chmod", "", "with --dir: change modes as chmod does, as 0644 or u=rwX,go=rX: `MODE`")
	f.BoolVar(&o.keepOwner, "keep-owner", false, "with --dir: keep owners, and setuid and setgid with them")
	f.BoolVar(&o.keepTimes, "keep-times", false, "with --dir: keep times (default: all are --time, or 1970)")
	f.Var(packingFlag{&o.Packing}, "compress", "pack all layers with gzip, zstd, none or estargz, with :LEVEL if wanted (default: gzip for what is not compressed)")
	f.BoolVar(&o.Blind, "blind", false, "leave paths as they are and read nothing of the bases")
	f.BoolVar(&o.Deep, "deep", false, "read the bases for links below every name")
	f.BoolVar(&o.Exact, "exact", false, "the tars are layers, with whiteouts: take them as they are")
	f.StringVar(&o.BaseLayers, "base-layers", "", "layers of the bases: `reference` leaves foreign ones where their URLs say (default), copy copies them, foreign refers to all of another registry by URLs that need no credentials")
	f.StringVar(&o.Comment, "comment", "", "`TEXT` for the history")
	f.BoolVar(&o.NoBaseAnnotations, "no-base-annotations", false, "do not annotate OCI images with their base")
	addEditFlags(f, &o.edit, "")
	f.Var(platformsFlag{&o.edit.Platforms}, "platform", "only these platforms of the bases; with scratch, make them")
	o.config.add(f, a.now)
	f.Lookup("time").Usage = "make later times in the new layers be `TIME` (default SOURCE_DATE_EPOCH)"
	for _, name := range []string{"history", "amend-history", "remove-history"} { // lines of the base
		f.Lookup(name).Hidden = true
	}
}

// add takes arguments as bases: a shell makes them of --base REF:{A,B}.
func (o *appendFlags) add(bases []string) error {
	for _, b := range bases {
		if info, err := os.Stat(b); err == nil && info.Mode().IsRegular() {
			return fmt.Errorf("%s is a file, and no base: each layer needs its own --layer", oci.Quote(b))
		}
		o.Bases = append(o.Bases, b)
	}
	return nil
}

// finish makes options of flags that need a second look.
func (o *appendFlags) finish(sourceEpoch string) (err error) {
	switch {
	case len(o.Bases) == 0:
		return errors.New("--base is missing: an image, or scratch")
	case len(o.Layers) == 0:
		return errors.New("nothing to append: give --layer or --dir")
	case len(o.edit.Targets) == 0:
		return errors.New("-t is missing: the result needs a name")
	case slices.Contains(o.Bases, dray.Scratch) && len(o.edit.Platforms) == 0:
		return errors.New("the base scratch has no platform: say with --platform which to make")
	case o.Deep && o.Blind:
		return errors.New("--deep and --blind exclude each other")
	}
	if _, err = o.config.options(""); err != nil {
		return err
	}
	o.Changes, o.Index, o.Time = o.config.images, o.config.index, o.config.time // which leaves the times of the base's config alone
	epoch, err := sourceDate(sourceEpoch)
	if err != nil {
		return err
	}
	if o.Time.IsZero() {
		o.Time = epoch
	}
	o.Created = epoch
	rules := layer.CreateOptions{Time: o.Time, KeepTime: o.keepTimes, KeepOwner: o.keepOwner}
	if rules.Mode, err = layer.ParseMode(o.chmod); err != nil {
		return fmt.Errorf("--chmod: %w", err)
	}
	if o.chown != "" {
		if o.keepOwner {
			return errors.New("--chown and --keep-owner exclude each other")
		}
		if rules.Owner, err = parseOwner(o.chown); err != nil {
			return err
		}
	}
	dirs := false
	for n := range o.Layers {
		o.Layers[n].Rules = rules
		dirs = dirs || o.Layers[n].Dir != ""
	}
	if !dirs && (o.chown != "" || o.chmod != "" || o.keepOwner || o.keepTimes) {
		return errors.New("--chown, --chmod, --keep-owner and --keep-times are for --dir")
	}
	o.NoUpload = o.edit.dryRun
	return nil
}

// packs tells of the work on layers by their names.
func (o *appendFlags) packs(tell func(name string, total int64, n int)) func(n, bytes int) {
	sizes := make([]int64, len(o.Layers))
	for n, l := range o.Layers {
		if info, err := os.Stat(l.File); l.File != "" && err == nil && info.Mode().IsRegular() {
			sizes[n] = info.Size()
		}
	}
	return func(n, bytes int) { tell(layerName(o.Layers[n]), sizes[n], bytes) }
}

func layerName(l dray.LayerInput) string {
	switch {
	case l.File == "-":
		return "stdin"
	case l.Blob != "":
		return l.Blob[strings.LastIndexByte(l.Blob, '@')+1:]
	}
	return l.File + l.Dir
}

func parseOwner(s string) (*layer.Owner, error) {
	user, group, ok := strings.Cut(s, ":")
	uid, err := strconv.ParseUint(user, 10, 31)
	gid, err2 := strconv.ParseUint(group, 10, 31)
	if !ok || err != nil || err2 != nil {
		return nil, fmt.Errorf("--chown %s: want UID:GID, two numbers", oci.Quote(s))
	}
	return &layer.Owner{UID: int(uid), GID: int(gid)}, nil
}

// layerFlag adds to a list of layers, which keeps the order of several flags.
type layerFlag struct {
	list  *[]dray.LayerInput
	parse func(string) (dray.LayerInput, error)
	kind  string
}

func (layerFlag) String() string { return "" }
func (l layerFlag) Type() string { return l.kind }
func (l layerFlag) Set(s string) error {
	in, err := l.parse(s)
	*l.list = append(*l.list, in)
	return err
}

func fileLayer(s string) (dray.LayerInput, error) {
	if s == "" {
		return dray.LayerInput{}, errors.New("want the name of a file")
	}
	if r, err := ref.ParseAny(s); err == nil && r.Digest != "" { // a file named like that is ./NAME@DIGEST
		return dray.LayerInput{Blob: s}, nil
	}
	return dray.LayerInput{File: s}, nil
}

// dirLayer reads SRC:DEST, both of which may begin with a drive.
func dirLayer(s string) (dray.LayerInput, error) {
	n := strings.LastIndexByte(s, ':')
	if n >= 2 && s[n-2] == ':' && (strings.HasPrefix(s[n+1:], "/") || strings.HasPrefix(s[n+1:], `\`)) {
		n -= 2
	}
	if n <= 0 || n == len(s)-1 {
		return dray.LayerInput{}, errors.New("want SRC:DEST, a directory and where it is put in the image")
	}
	return dray.LayerInput{Dir: s[:n], At: s[n+1:]}, nil
}
