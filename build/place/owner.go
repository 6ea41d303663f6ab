// SPDX-License-Identifier: Apache-2.0

package place

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/layer"
	"github.com/dray-tools/dray/oci"
)

// maxPasswd bounds /etc/passwd and /etc/group.
const maxPasswd = 8 << 20

// Owner reads USER[:GROUP], where names are those of the stack. A name alone has
// the group that passwd says, a number alone the same number. ErrNotFound if a
// name cannot be looked up. What was looked up is remembered.
func Owner(ctx context.Context, e *build.Engine, onto *build.Stack, chown string) (*layer.Owner, error) {
	user, group, grouped := strings.Cut(chown, ":")
	if user == "" || grouped && group == "" {
		return nil, oci.Errorf(oci.ErrInvalid, "%s: want USER or USER:GROUP", oci.Quote(chown))
	}
	var o layer.Owner
	var err error
	if id, ok := number(user); ok {
		o = layer.Owner{UID: id, GID: id}
	} else if o, err = lookUp(ctx, e, onto, "passwd", user); err != nil {
		return nil, err
	}
	if !grouped {
		return &o, nil
	}
	if id, ok := number(group); ok {
		o.GID = id
		return &o, nil
	}
	g, err := lookUp(ctx, e, onto, "group", group)
	o.GID = g.UID
	return &o, err
}

// number reads an id, as far as they go in Linux.
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n < 1<<32-1
}

// lookUp finds a name in a file of /etc: its number, and that of its group in
// passwd.
func lookUp(ctx context.Context, e *build.Engine, onto *build.Stack, file, name string) (layer.Owner, error) {
	raw, err := readSmall(ctx, e, onto, "etc/"+file, maxPasswd)
	if errors.Is(err, oci.ErrNotFound) {
		return layer.Owner{}, oci.Errorf(oci.ErrNotFound, "there is no /etc/%s to look up %s in: use its number", file, oci.Quote(name))
	}
	if err != nil {
		return layer.Owner{}, err
	}
	lines := bufio.NewScanner(strings.NewReader(raw))
	lines.Buffer(nil, maxPasswd)
	for lines.Scan() {
		f := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if f[0] != name || len(f) < 3 {
			continue
		}
		var o layer.Owner
		var ok bool
		if o.UID, ok = number(f[2]); ok && file == "passwd" && len(f) > 3 {
			o.GID, ok = number(f[3])
		}
		if !ok {
			return o, oci.Errorf(oci.ErrInvalid, "/etc/%s has no number for %s", file, oci.Quote(name))
		}
		return o, nil
	}
	return layer.Owner{}, oci.Errorf(oci.ErrNotFound, "%s is not in the image's /etc/%s", oci.Quote(name), file)
}

// readSmall reads a small file of a stack: only the layer that has it, whose
// digest is checked, and not again if the cache has it.
func readSmall(ctx context.Context, e *build.Engine, onto *build.Stack, name string, most int64) (string, error) {
	t, err := onto.Tree(ctx)
	if err != nil {
		return "", err
	}
	_, n, err := t.Follow(name)
	if err != nil {
		return "", err
	}
	if n.Kind != layer.File || n.Size > most {
		return "", oci.Errorf(oci.ErrInvalid, "/%s is no file of at most %d bytes", name, most)
	}
	b := onto.Blobs()[n.Layer]
	kept := newKept(e, "passwd", string(b.Descriptor().Digest)+" "+strconv.Itoa(n.Index))
	if raw, ok := kept.read(most); ok {
		return raw, nil
	}
	rc, err := layer.Open(ctx, b)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	r := layer.NewReader(rc, e.Options().Limits)
	var raw strings.Builder
	for i := 0; ; i++ {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			return "", err
		}
		if i == n.Index {
			if _, err := io.Copy(&raw, io.LimitReader(r, most)); err != nil {
				return "", err
			}
		}
	}
	kept.write(raw.String())
	return raw.String(), nil
}
