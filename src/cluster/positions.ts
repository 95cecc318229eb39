/**
 * Where the fields of one object stand in its file.
 *
 * Values are read without positions, which keeps large dumps fast; the positions of an object are worked out
 * from the parser's events when the first of them is asked for. A field that has no place of its own (it came
 * through an alias or a merge key) has the place of the nearest field around it that has one.
 */
import { EVENT_ID, type Event, getScalarValue, parseEvents, SCALAR_STYLE, type ScalarEvent } from "js-yaml";
import type { Where } from "./problem.js";
import type { SourceText } from "./source-text.js";
import { plainKey } from "./yaml.js";

export type Path = readonly (string | number)[];

interface Place {
  readonly offset: number;
  /** A text that begins on the line after its key (`|`, `>`). */
  readonly block?: boolean;
  readonly children: ReadonlyMap<string | number, Place> | null;
}

export class Positions {
  private root: Place | null = null;

  /**
   * @param text the YAML document or JSON value the events are of
   * @param base offset of `text` in the source
   * @param start offset of the object in the source: its place when events cannot be had
   * @param events parser events of `text`, or null to parse it when needed
   * @param first index of the object's own event
   */
  constructor(
    private readonly source: SourceText,
    private readonly text: string,
    private readonly base: number,
    private readonly start: number,
    private readonly events: readonly Event[] | null,
    private readonly first: number,
    /** Fields of the document around the object. */
    private readonly outer: Path = [],
  ) {}

  /** The places of an object that stands at this path, with paths of its own. */
  inside(path: Path): Positions {
    return new Positions(this.source, this.text, this.base, this.start, this.events, this.first, [...this.outer, ...path]);
  }

  where(path: Path): Where {
    return this.source.where(path.length + this.outer.length === 0 ? this.start : this.place(path).offset);
  }

  /** Whether the text at this path begins on the line after its key. */
  isBlock(path: Path): boolean {
    return this.place(path).block === true;
  }

  private place(path: Path): Place {
    this.root ??= this.build();
    let place = this.root;
    for (const key of [...this.outer, ...path]) {
      const next = place.children?.get(key);
      if (next === undefined) break;
      place = next;
    }
    return place;
  }

  private build(): Place {
    try {
      const events = this.events ?? parseEvents(this.text, {});
      // A text that is parsed here alone begins with its document event.
      const first = this.events === null ? 1 : this.first;
      return { ...new PlaceReader(events, this.text, this.base).read(first, this.start), offset: this.start };
    } catch {
      // JSON that YAML cannot parse (a key of more than 1024 characters): the object's own line is all there
      // is.
      return { offset: this.start, children: null };
    }
  }
}

class PlaceReader {
  private next = 0;

  constructor(private readonly events: readonly Event[], private readonly text: string,
    private readonly base: number) {}

  read(index: number, outer: number): Place {
    const event = this.events[index];
    this.next = index + 1;
    if (event.type === EVENT_ID.MAPPING) return this.mapping(this.base + event.start);
    if (event.type === EVENT_ID.SEQUENCE) return this.sequence(this.base + event.start);
    return { offset: offsetOf(event, this.base, outer), children: null };
  }

  private mapping(offset: number): Place {
    const children = new Map<string | number, Place>();
    while (this.events[this.next].type !== EVENT_ID.POP) {
      const key = this.events[this.next];
      const at = offsetOf(key, this.base, offset);
      const name = key.type === EVENT_ID.SCALAR ? this.keyName(key) : null;
      this.read(this.next, offset);
      const block = isBlockScalar(this.events[this.next]);
      const value = this.read(this.next, at);
      if (name !== null) children.set(name, { offset: at, children: value.children, block });
    }
    this.next++;
    return { offset, children };
  }

  private keyName(key: ScalarEvent): string {
    const text = getScalarValue(this.text, key);
    return key.style === SCALAR_STYLE.PLAIN ? plainKey(text) : text;
  }

  private sequence(offset: number): Place {
    const children = new Map<string | number, Place>();
    while (this.events[this.next].type !== EVENT_ID.POP) {
      children.set(children.size, this.read(this.next, offset));
    }
    this.next++;
    return { offset, children };
  }
}

function isBlockScalar(event: Event): boolean {
  return event.type === EVENT_ID.SCALAR
    && (event.style === SCALAR_STYLE.LITERAL_BLOCK || event.style === SCALAR_STYLE.FOLDED_BLOCK);
}

function offsetOf(event: Event, base: number, outer: number): number {
  if (event.type === EVENT_ID.SCALAR) return event.valueStart < 0 ? outer : base + event.valueStart;
  if (event.type === EVENT_ID.ALIAS) return base + event.anchorStart;
  if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) return base + event.start;
  return outer;
}
