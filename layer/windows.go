// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"path"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// Records of Windows layers: what NTFS says of a file.
const (
	fileAttributes     = "MSWINDOWS.fileattr"
	rawDescriptor      = "MSWINDOWS.rawsd" // base64
	writtenDescriptor  = "MSWINDOWS.sd"    // SDDL, in old layers
	creationTime       = "LIBARCHIVE.creationtime"
	attrDirectory      = 0x10
	attrArchive        = 0x20
	attrReparsePoint   = 0x400
	windowsFiles       = "Files" // drive C:
	windowsHives       = "Hives" // changes of the registry
	windowsUtilityVM   = "UtilityVM"
	builtinDomain      = 32
	aliasUsers         = 545
	authorityNT        = 5
	selfRelative       = 0x8000
	descriptorHeadSize = 20
)

// usersDescriptor is the security descriptor of a file that belongs to
// BUILTIN\Users, in the form of MS-DTYP 2.4.6: revision, flags, and where the
// owner, the group and two lists of rights are. There are no lists, so that the
// rights are inherited. Owner and group are the SID S-1-5-32-545 (2.4.2).
var usersDescriptor = func() string {
	sid := []byte{1, 2, 0, 0, 0, 0, 0, authorityNT}
	sid = binary.LittleEndian.AppendUint32(sid, builtinDomain)
	sid = binary.LittleEndian.AppendUint32(sid, aliasUsers)
	sd := []byte{1, 0}
	sd = binary.LittleEndian.AppendUint16(sd, selfRelative)
	sd = binary.LittleEndian.AppendUint32(sd, descriptorHeadSize)
	sd = binary.LittleEndian.AppendUint32(sd, uint32(descriptorHeadSize+len(sid)))
	sd = append(sd, make([]byte, 8)...)
	sd = append(append(sd, sid...), sid...)
	return base64.StdEncoding.EncodeToString(sd)
}()

// A windowsForm makes the entries of a Windows layer: all is below Files, there
// is a directory Hives, and records say what NTFS wants to know.
type windowsForm struct {
	exact bool // the tar must be in the form
	pass  bool // it is
	begun bool
	files bool // there is a directory Files
	hives bool
	seen  map[[16]byte]spelling // by name, without its case
}

// A spelling tells names apart that only differ in their case.
type spelling [8]byte

// windowsPath is a path of the root in slashes: without a drive, if it has one.
func windowsPath(s string) string {
	if drive(s) {
		s = s[2:]
	}
	return strings.ReplaceAll(s, `\`, "/")
}

// drive reports whether a path begins with C: or another drive.
func drive(s string) bool {
	return len(s) >= 2 && s[1] == ':' && s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z' && (len(s) == 2 || s[2] == '/' || s[2] == '\\')
}

// begin looks at where an entry is: the first one decides whether the tar is a
// Windows layer.
func (r *rewriter) begin(e *Entry) error {
	f := r.form
	if e.Name == "." {
		return nil
	}
	top, _, _ := strings.Cut(e.Name, "/")
	own := top == windowsFiles || top == windowsHives || top == windowsUtilityVM
	if !f.begun && r.prefix == "" {
		f.pass = own || f.exact
	}
	switch {
	case f.pass && !own:
		return oci.Errorf(oci.ErrInvalid, "%s: a Windows layer has only Files, Hives and UtilityVM", oci.Quote(e.Name))
	case !f.pass && own && r.prefix == "":
		return oci.Errorf(oci.ErrInvalid, "%s: a Windows layer begins with this, this tar does not", oci.Quote(e.Name))
	case f.exact:
		f.begun = true
		return nil
	case f.pass:
		f.begun = true
		if e.Name == top && e.Kind != Dir {
			return oci.Errorf(oci.ErrInvalid, "%s: in a Windows layer this is a directory", oci.Quote(top))
		}
		return r.tops(top == windowsFiles, top == windowsHives, e.Name == top)
	case f.begun:
		return nil
	}
	f.begun = true
	return r.tops(true, true, false)
}

// tops writes the directories that every Windows layer has, if they are not
// there; own: an entry of the tar does.
func (r *rewriter) tops(files, hives, own bool) error {
	files, hives = files && !r.form.files, hives && !r.form.hives
	r.form.files, r.form.hives = r.form.files || files, r.form.hives || hives
	if files && !own {
		if err := r.writeDir(Place{Path: windowsFiles}); err != nil {
			return err
		}
	}
	if hives && !own {
		return r.writeDir(Place{Path: windowsHives})
	}
	return nil
}

// inside checks an entry of a tar that has the form.
func (f *windowsForm) inside(n *roster, e *Entry) error {
	top, name, _ := strings.Cut(e.Name, "/")
	linkTop, link, _ := strings.Cut(e.Link, "/")
	switch {
	case e.Kind != Link:
		link = ""
	case linkTop != top || link == "":
		return oci.Errorf(oci.ErrInvalid, "it is a hard link to %s, out of %s", oci.Quote(e.Link), top)
	}
	if name == "" {
		return nil
	}
	for _, s := range []*string{&name, &link} { // a stream of a file has its name, a colon, and its own
		if i := strings.LastIndexByte(*s, ':'); i > 0 && n.isFile(top+"/"+(*s)[:i]) {
			*s = (*s)[:i] + (*s)[i+1:]
		}
	}
	if err := f.check(e, name, link); err != nil {
		return err
	}
	return f.unique(e.Name)
}

// check refuses what Windows cannot hold.
func (f *windowsForm) check(e *Entry, name, link string) error {
	switch e.Kind {
	case Char, Block, Fifo:
		return oci.Errorf(oci.ErrInvalid, "Windows has no devices and pipes in directories")
	case Link:
		if err := checkWindowsName(link); err != nil {
			return err
		}
	}
	return checkWindowsName(name)
}

// unique refuses a name that Windows takes for that of another entry.
func (f *windowsForm) unique(name string) error {
	for end := range ends(name) {
		part := name[:end]
		folded, sum := sha256.Sum256([]byte(strings.ToUpper(part))), sha256.Sum256([]byte(part))
		key, spelt := [16]byte(folded[:]), spelling(sum[:])
		was, again := f.seen[key]
		if again && was != spelt {
			return oci.Errorf(oci.ErrInvalid, "%s is there in other letters, which Windows takes for the same", oci.Quote(part))
		}
		f.seen[key] = spelt
	}
	return nil
}

// entry gives an entry the form of Windows.
func (f *windowsForm) entry(r *rewriter, e *Entry, name, link string) (action, error) {
	if err := f.check(e, name, link); err != nil {
		return 0, err
	}
	if err := f.unique(name); err != nil {
		return 0, err
	}
	attr := attrArchive
	switch e.Kind {
	case Dir:
		attr = attrDirectory
	case Symlink:
		if attr |= attrReparsePoint; r.leadsToDir(name, e.Link) {
			attr = attrReparsePoint | attrDirectory
		}
	}
	r.metadata(e.Header)
	windowsHeader(e.Header, attr)
	renamed(e, path.Join(windowsFiles, name), path.Join(windowsFiles, link))
	return changedHead, nil
}

// leadsToDir reports whether a symlink surely leads to a directory; Windows has
// links of two kinds.
func (r *rewriter) leadsToDir(name, target string) bool {
	target = windowsPath(target)
	if base := path.Base(target); strings.HasSuffix(target, "/") || base == "." || base == ".." {
		return true
	}
	if !strings.HasPrefix(target, "/") {
		target = path.Join("/", path.Dir(name), target)
	}
	return r.where.wrote(path.Clean(target)[1:])
}

// windowsHeader adds the records that are not there.
func windowsHeader(h *tar.Header, attr int) {
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	if h.PAXRecords[fileAttributes] == "" {
		h.PAXRecords[fileAttributes] = strconv.Itoa(attr)
	}
	if h.PAXRecords[rawDescriptor] == "" && h.PAXRecords[writtenDescriptor] == "" {
		h.PAXRecords[rawDescriptor] = usersDescriptor
	}
}
