/** HTML: text without markup, menus and scripts. */
import type { DomNode, FormatCallback, HtmlToTextOptions } from 'html-to-text';
import { tableText } from './table.ts';
import { decodeAs, decodeText, type ExtractedText, onOneLine, Unreadable } from './text.ts';

/**
 * The text of an HTML page and its title.
 * @throws Unreadable for bytes that are no text, and for elements nested too deeply.
 */
export async function fromHtml(bytes: Uint8Array): Promise<ExtractedText> {
  const html = decodeHtml(bytes);
  const { convert } = await import('html-to-text');
  try {
    const title = convert(html, {
      wordwrap: false,
      baseElements: { selectors: ['title'], returnDomByDefault: false },
      limits: { maxBaseElements: 1, maxInputLength: Number.MAX_SAFE_INTEGER },
    });
    return { title: title === '' ? null : title, text: convert(html, options) };
  } catch (error) {
    // Elements in elements in elements: the converter calls itself for each.
    throw new Unreadable(`the HTML cannot be read: ${onOneLine(error)}`, { cause: error });
  }
}

/** HTML may name an old encoding in its head. */
function decodeHtml(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.subarray(0, 2048)).toString('latin1');
  const label = /<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)/i.exec(head)?.[1];
  const declared = label === undefined || decodeAs('utf-8', bytes) !== null ? null : decodeAs(label, bytes);
  return declared ?? decodeText(bytes);
}

/** A table, a line for each of its rows. */
const formatTable: FormatCallback = (table, walk, builder) => {
  const rows = rowsOf(table);
  builder.openTable();
  for (const row of rows) {
    builder.openTableRow();
    for (const nodes of row) {
      builder.openTableCell();
      walk([...nodes], builder);
      builder.closeTableCell();
    }
    builder.closeTableRow();
  }
  builder.closeTable({
    tableToString: (cells) =>
      tableText(cells.map((row, y) => row.map(({ text }, x) => ({ text, isBlock: holdsBlocks(rows[y]?.[x] ?? []) })))),
  });
};

/** What one cell holds. */
type Cell = readonly DomNode[];
type Row = readonly Cell[];

const cellNames: ReadonlySet<string> = new Set(['td', 'th']);
/** What may stand between a table and its rows; pages wrap rows in forms, too. */
const rowHolders: ReadonlySet<string> = new Set(['thead', 'tbody', 'tfoot', 'center', 'form']);

/** The rows of a table. Whatever stands between rows and cells, such as a caption, is a row or cell of its own. */
function rowsOf(element: DomNode): readonly Row[] {
  const rows: Row[] = [];
  let open: Cell[] = [];
  const close = (): void => {
    if (open.length > 0) rows.push(open);
    open = [];
  };
  for (const child of childrenOf(element)) {
    const name = child.name ?? '';
    // Cells without a row make one together.
    if (cellNames.has(name)) open.push(child.children ?? []);
    else {
      close();
      if (name === 'tr') rows.push(cellsOf(child));
      else if (rowHolders.has(name)) rows.push(...rowsOf(child));
      else rows.push([[child]]);
    }
  }
  close();
  return rows;
}

function cellsOf(row: DomNode): Row {
  return childrenOf(row).map((child) => (cellNames.has(child.name ?? '') ? (child.children ?? []) : [child]));
}

/** Without white space and comments, which in a table part nothing. */
function childrenOf({ children = [] }: DomNode): readonly DomNode[] {
  return children.filter(({ type, data = '' }) => type === 'tag' || (type === 'text' && data.trim() !== ''));
}

/** Text in these has lines that say something. */
const blocks: ReadonlySet<string> = new Set(['table', 'pre', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6']);

function holdsBlocks(nodes: Cell): boolean {
  return nodes.some(({ name = '', children = [] }) => blocks.has(name) || holdsBlocks(children));
}

const options: HtmlToTextOptions = {
  wordwrap: false,
  formatters: { formatTable },
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    { selector: 'nav', format: 'skip' },
    { selector: 'ul', options: { itemPrefix: '- ' } },
    { selector: 'table', format: 'formatTable' },
    ...[1, 2, 3, 4, 5, 6].map((level) => ({ selector: `h${level}`, options: { uppercase: false } })),
  ],
  // The library's own limits would drop text in silence.
  limits: { maxInputLength: Number.MAX_SAFE_INTEGER },
};
