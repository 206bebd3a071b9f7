/**
 * What a command prints and where. Results go to stdout, as text for people or, with `--json`, as JSON Lines and
 * nothing else. Progress, notices and errors go to stderr. Colours and moving bars appear only on a terminal.
 */
import { SingleBar } from 'cli-progress';
import picocolors from 'picocolors';
import { counted } from '../counted.ts';

type Colours = ReturnType<typeof picocolors.createColors>;

/** A bar on a terminal, a line now and then elsewhere. */
export interface Progress extends Disposable {
  /** @param detail what else to say, "830 tokens/s" */
  update(done: number, total: number | null, detail?: string): void;
}

/** Lines on a terminal that are drawn over again and again; notices appear above them. */
export interface Live extends Disposable {
  readonly columns: number;
  show(text: string): void;
}

export interface Terminal {
  readonly json: boolean;
  /** Colours for stdout; each is the identity where there are none. */
  readonly colours: Colours;
  /** One result: `value` as a line of JSON with `--json`, else the text. */
  result(value: unknown, text: () => string): void;
  /** A list of results: a line of JSON each with `--json`, else one text for all. */
  results(values: readonly unknown[], text: () => string): void;
  /** A piece of streamed text, as it is. Nothing with `--json`. */
  stream(text: string): void;
  /** A line on stderr that is no part of the result. */
  notice(message: string): void;
  /** @param unit formats counts, for instance {@link formatBytes} */
  progress(label: string, unit?: (count: number) => string): Progress;
  /** Null where stderr is no terminal. Its last lines stay when it is disposed of. */
  live(): Promise<Live | null>;
}

export interface Streams {
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
}

/** Milliseconds between two lines of progress where there is no terminal. */
const lineInterval = 10_000;

export function openTerminal(
  options: { readonly json: boolean },
  streams: Streams = { out: process.stdout, err: process.stderr },
): Terminal {
  const { out, err } = streams;
  const colours = picocolors.createColors(out.isTTY === true && picocolors.isColorSupported);
  const errorColours = picocolors.createColors(err.isTTY === true && picocolors.isColorSupported);
  /** Prints above the live lines while there are any. */
  let printAbove: ((text: string) => void) | undefined;
  return {
    json: options.json,
    colours,
    result(value, text) {
      out.write(options.json ? `${JSON.stringify(value)}\n` : endWithNewline(text()));
    },
    results(values, text) {
      out.write(options.json ? values.map((value) => `${JSON.stringify(value)}\n`).join('') : endWithNewline(text()));
    },
    stream(text) {
      if (!options.json) out.write(text);
    },
    notice(message) {
      const text = errorColours.dim(message);
      if (printAbove) printAbove(text);
      else err.write(`${text}\n`);
    },
    progress(label, unit = formatCount) {
      return err.isTTY === true ? movingBar(label, unit, err) : progressLines(label, unit, err);
    },
    async live() {
      if (err.isTTY !== true) return null;
      // Loaded here, as it would cost every command a tenth of a second.
      const { createLogUpdate } = await import('log-update');
      const lines = createLogUpdate(err);
      printAbove = (text) => lines.persist(text);
      return {
        get columns() {
          return err.columns;
        },
        show: (text) => lines(text),
        [Symbol.dispose]() {
          lines.done();
          printAbove = undefined;
        },
      };
    },
  };
}

function movingBar(label: string, unit: (count: number) => string, err: NodeJS.WriteStream): Progress {
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% {amount} {detail}`,
    barCompleteChar: '━',
    barIncompleteChar: '─',
    barsize: 24,
    hideCursor: true,
    stopOnComplete: false,
    stream: err,
  });
  let started = false;
  return {
    update(done, total, detail = '') {
      const amount = total === null ? unit(done) : `${unit(done)} / ${unit(total)}`;
      if (!started) bar.start(total ?? Math.max(done, 1), 0, { amount, detail });
      started = true;
      bar.setTotal(total ?? Math.max(done, 1));
      bar.update(done, { amount, detail });
    },
    [Symbol.dispose]() {
      if (started) bar.stop();
    },
  };
}

function progressLines(label: string, unit: (count: number) => string, err: NodeJS.WriteStream): Progress {
  let last = performance.now();
  return {
    update(done, total, detail = '') {
      const now = performance.now();
      if (now - last < lineInterval && done !== total) return;
      last = now;
      err.write(`${label} ${unit(done)}${total === null ? '' : ` / ${unit(total)}`} ${detail}`.trimEnd().concat('\n'));
    },
    [Symbol.dispose]() {},
  };
}

/** Columns of text, each as wide as its widest cell; numbers stand right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? formatCount(cell) : cell)))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const right = head.map((_, column) => typeof rows[0]?.[column] === 'number');
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] as number;
          return right[column] === true ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function formatCount(count: number): string {
  return Number.isInteger(count) ? String(count).replace(/\B(?=(\d{3})+$)/g, ' ') : count.toFixed(1);
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** "3 references, 1 memory" */
export function formatHoldings({ references, memories }: Readonly<Record<'references' | 'memories', number>>): string {
  return `${counted(references, 'reference')}, ${counted(memories, 'memory', 'memories')}`;
}

/** "45 s", "3 min 20 s", "2 h 5 min" */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function endWithNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}
