import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fromHtml } from './html.ts';

async function textOf(html: string): Promise<string> {
  return (await fromHtml(Buffer.from(html))).text;
}

const row = (cells: readonly string[], name = 'td') =>
  `<tr>${cells.map((cell) => `<${name}>${cell}</${name}>`).join('\n')}</tr>`;

describe('HTML', () => {
  it('in an old encoding that its head names', async () => {
    const old = Buffer.from('<meta charset="windows-1252"><p>Caf\xe9 \x96 na\xefve</p>', 'latin1');
    assert.equal((await fromHtml(old)).text, 'Café – naïve');
    await assert.rejects(fromHtml(Buffer.from('<p>Caf\xe9</p>', 'latin1')), /not valid UTF-8/);
  });

  it('of more than sixteen million characters whole', async () => {
    const text = await textOf(`<p>${'word '.repeat(3_400_000)}</p><p>last</p>`);
    assert.ok(text.endsWith('word\n\nlast'));
  });
});

describe('tables of HTML', () => {
  it('a row is a line, its cells whole however long they are', async () => {
    const closed = 'The stone bridge over the river Aire was closed to lorries of more than seven tonnes in March.';
    const decision =
      'The council decided to rebuild it with steel girders in two phases, of which the first begins in May.';
    const table = `<table><thead>${row(['Bridge', 'Decision'], 'th')}</thead>${row([closed, decision])}</table>`;
    assert.equal(
      await textOf(`<p>before</p>${table}<p>after</p>`),
      `before\n\nBridge | Decision\n${closed} | ${decision}\n\nafter`,
    );
  });

  it('paragraphs, lists and line breaks of a cell are on its row’s line; empty cells keep the columns', async () => {
    const cells = [
      '<p>One.</p><p>Two.</p>',
      '<ul><li>a</li><li>b</li></ul>',
      '12 High St<br>Norrey',
      '<b>x</b> <i>y</i>',
    ];
    assert.equal(await textOf(`<table>${row(cells)}</table>`), 'One. Two. | - a - b | 12 High St Norrey | x y');
    const years = row(['', '1871', '1923'], 'th');
    assert.equal(
      await textOf(`<table>${years}${row(['Lamp', '', 'electric'])}${row(['', ''])}</table>`),
      '| 1871 | 1923\nLamp |  | electric',
    );
  });

  it('tables that arrange a page keep its paragraphs, headings and inner tables in reading order', async () => {
    const inner = `<table>${row(['Year', 'Lamp'])}${row(['1923', 'electric'])}</table>`;
    const page = `<h2>Norrey</h2><p>An island.</p>${inner}<p>Its keeper left.</p>`;
    assert.equal(
      await textOf(`<table>${row(['<a href="/">Home</a>', page])}${row(['<p>Imprint</p><p>2024</p>'])}</table>`),
      'Home\n\nNorrey\n\nAn island.\n\nYear | Lamp\n1923 | electric\n\nIts keeper left.\n\nImprint\n\n2024',
    );
    const listing = row(['<pre>1\n2</pre>', '<pre>let a\n  = b</pre>']);
    assert.equal(await textOf(`<table>${listing}</table>`), '1\n2\n\nlet a\n  = b');
  });

  it('what stands between rows and cells is read too', async () => {
    const table =
      '<table><caption>Lamps</caption><form><tr><td>a</td>stray<!-- no --><td>b</td></tr></form>' +
      'loose<tbody><td>c</td><td>d</td></tbody><div>e</div></table>';
    assert.equal(await textOf(table), 'Lamps\na | stray | b\nloose\nc | d\ne');
  });

  it('a cell over more columns and rows than a table can have is a cell', async () => {
    const spans = '<tr><td colspan="10000000" rowspan="10000000">a</td><td>b</td></tr>';
    assert.equal(await textOf(`<table>${spans}</table>`), 'a | b');
  });
});
