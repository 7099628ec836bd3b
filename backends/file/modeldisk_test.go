package file

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// modelDisk is the disk of one process.
type modelDisk struct {
	p *proc

	last      string        // the previous step
	lastClock time.Duration // the previous reading
	linked    uint64        // what was linked in the previous step
	stale     bool          // recordBeforeClock: the next look sees these
	staleGens []uint64
	staleLoad map[uint64][]byte
}

func (d *modelDisk) step(what string) {
	if !d.p.yield(what) {
		panic(killed{})
	}
	if what != "generations" && what != "load" {
		d.stale = false
	}
	if what != "generations" {
		d.linked = 0
	}
	d.last = what
}

func (d *modelDisk) identify() (string, error) {
	if d.p.w.sabotage == foreignTrusted {
		return "one", nil
	}
	return d.p.clock, nil
}

func (d *modelDisk) open() error {
	d.p.w.locks[d.p.lockName()] = true
	return nil
}

func (d *modelDisk) owner() lockRef { return lockRef{Name: d.p.lockName()} }

func (d *modelDisk) close(bool) error { d.p.w.locks[d.p.lockName()] = false; return nil }

func (d *modelDisk) ensureGroup(string) error { return nil }

func (d *modelDisk) notifier(func(change)) (notifier, error) { return nil, errors.ErrUnsupported }

func (d *modelDisk) wall() time.Time { return time.UnixMicro(5) } // stands still: tokens must do without

func (d *modelDisk) reading() time.Duration { return d.p.w.now + d.p.offset }

func (d *modelDisk) listing() []uint64 { return slices.Sorted(maps.Keys(d.p.w.gens)) }

func (d *modelDisk) clock() (time.Duration, error) {
	w := d.p.w
	wrote := d.last == "write"
	var gens []uint64
	load := map[uint64][]byte{}
	if w.sabotage == recordBeforeClock {
		gens = d.listing()
		for g, i := range w.gens {
			load[g] = slices.Clone(i.data)
		}
	}
	d.step("clock")
	if w.sabotage == noClockAfterWrite && wrote {
		return d.lastClock, nil
	}
	if w.sabotage == recordBeforeClock {
		d.stale, d.staleGens, d.staleLoad = true, gens, load
	}
	d.lastClock = d.reading()
	return d.lastClock, nil
}

func (d *modelDisk) generations(string) ([]uint64, error) {
	linked := d.linked
	d.step("generations")
	if d.stale {
		return d.staleGens, nil
	}
	gens := d.listing()
	if linked > 0 && d.p.w.sabotage == noLookAfterLink {
		gens = slices.DeleteFunc(gens, func(g uint64) bool { return g > linked })
	}
	d.linked = 0
	return gens, nil
}

func (d *modelDisk) load(_ string, gen uint64) ([]byte, error) {
	d.step("load")
	if d.stale {
		if data, ok := d.staleLoad[gen]; ok {
			return data, nil
		}
		return nil, fs.ErrNotExist
	}
	i := d.p.w.gens[gen]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(i.data), nil
}

func (d *modelDisk) remove(_ string, gen uint64) error {
	d.step("remove")
	delete(d.p.w.gens, gen)
	if d.p.w.sabotage == sweepAll {
		clear(d.p.w.gens)
	}
	return nil
}

func (d *modelDisk) probe(owner lockRef) liveness {
	d.step("probe")
	switch held, ok := d.p.w.locks[owner.Name]; {
	case !ok:
		return ownerUnknown
	case held:
		return ownerAlive
	}
	return ownerDead
}

func (d *modelDisk) stage(image []byte) (recordFile, error) {
	d.step("stage")
	return &modelFile{d: d, inode: &inode{data: image}}, nil
}

type modelFile struct {
	d     *modelDisk
	inode *inode
	gen   uint64
}

func (f *modelFile) publish(_ string, gen uint64) error {
	f.d.step("link")
	if f.d.p.w.gens[gen] != nil {
		return fs.ErrExist
	}
	f.d.p.w.gens[gen], f.gen, f.d.linked = f.inode, gen, gen
	return nil
}

func (f *modelFile) begins(image []byte) (bool, error) {
	f.d.step("read")
	return sameRecord(f.inode.data[:len(image)], image), nil
}

func (f *modelFile) inPlace() (bool, error) {
	f.d.step("stat")
	return f.d.p.w.gens[f.gen] == f.inode, nil
}

func (f *modelFile) write(p []byte, offset int64) error {
	half := len(p) / 2
	f.d.step("write half")
	copy(f.inode.data[offset:], p[:half])
	f.d.step("write")
	copy(f.inode.data[int(offset)+half:], p[half:])
	return nil
}

func (f *modelFile) close() error { return nil }
