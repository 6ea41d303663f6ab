// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bufio"
	"context"
	"io"
	"time"
)

// RewriteOptions say what a user's tar must become. The zero value checks it
// and drops what would change the root of the image.
type RewriteOptions struct {
	// Ground is what the layer is put on. Entries go where its links lead, its
	// directories keep mode and owner, and those that it lacks are made. nil: paths
	// stay as they are. It is not asked for a layer in Windows form.
	Ground Ground
	// Prefix is the directory of the image that everything is put below, also the
	// targets of hard links, which are names in the tar.
	Prefix string
	// Windows asks for the form of Windows layers. A tar that has it is passed.
	Windows bool
	// Clamp is the latest time that an entry may say; access, change and creation
	// times are dropped. Zero: times stay.
	Clamp time.Time
	// Owner is whom everything belongs to; nil: owners stay.
	Owner *Owner
	// Into is the name that a file gets in a directory that the Ground has in its
	// place; "": it replaces that.
	Into string
	// Follow puts a file where a link of the Ground in its place leads; without it
	// the file replaces the link.
	Follow bool
	// Over is the directory, as Entry.Name has it, below which directories of the tar
	// give their mode and owner to those of the Ground; "": nowhere.
	Over string
	// Meek says that no file takes the place of a directory of the Ground: that is
	// ErrInvalid.
	Meek bool
	// Exact says that the tar is a layer: whiteouts are allowed, and nothing of the
	// above is done but to clamp times and to check the form that Windows asks for.
	// Names that are there twice stay so, though Docker refuses them.
	Exact bool
	// Repeats is what FindRepeats found in the tar; nil: nothing.
	Repeats *Repeats
	Limits  Limits
}

// An Owner is a user and a group, by number.
type Owner struct{ UID, GID int }

// Rewritten is what Rewrite has done.
type Rewritten struct {
	Changed bool     // false: what was written is what was read
	Entries int      // that were written
	Asked   []Answer // by the Ground, in order: another one with the same answers gives the same bytes
	// Kept are the first directories of the Ground that stay as they are though the
	// tar has entries for them, and nothing in them; KeptCount is how many there are.
	Kept      []string
	KeptCount int
	// Tops are the names at the top of the layer, of a few, with MoreTops for the
	// others; none of a layer in Windows form.
	Tops []string
}

// An Answer is what a Ground said of a directory.
type Answer struct {
	Dir   string
	Place Place
}

// Rewrite reads a tar that is not compressed and writes the tar of a layer that
// does not break what lies below it. Equal input and answers give equal bytes,
// and memory does not grow with the files.
//
// Entries that need no change keep every byte of their headers. Names become
// those that the Ground, and links that the tar itself brought before, lead to.
// Directories that are missing on the way are made, 0755 of root, with the time
// Clamp or 1970; those of the Ground that are Odd are written before what is in
// them, with mode and owner. A directory entry for one of the Ground's, or for the
// root, is left out. Each name is written once. Directories that come again in the same
// way are left out; of other entries the last one counts, and Rewrite has to be
// told of it: it ends with ErrRepeats, perhaps after a part has been written.
// Targets of symlinks stay as they are. Files with holes that have to be renamed
// lose them. What a link of the Ground leads through, and the tar replaces, is
// taken as the Ground has it.
//
// A layer in Windows form has all its parents, each once, and the security
// descriptor and attributes of NTFS where the tar does not say any. A tar whose
// first entry is in Files, Hives or UtilityVM has the form, unless there is a
// Prefix, and may hold nothing else then; what it lacks of Files and Hives is made.
//
// ErrInvalid, with the entry's name, for what Reader refuses, for whiteouts, for
// hard links to what is no file that the tar has brought before, for what lies
// below a file of the tar or of the Ground, for bytes behind the end of the tar,
// and for names that Windows cannot hold, if it must.
func Rewrite(ctx context.Context, w io.Writer, tar io.Reader, o RewriteOptions) (Rewritten, error) {
	out := bufio.NewWriterSize(w, copySize)
	r, err := newRewriter(out, tar, o)
	if err != nil {
		return Rewritten{}, err
	}
	if err := r.run(ctx); err != nil {
		return Rewritten{}, err
	}
	return r.done, out.Flush()
}
