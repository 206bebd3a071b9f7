import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import JSZip from 'jszip';
import type { ExtractedText } from './text.ts';
import { fromWord } from './word.ts';

const office = 'http://schemas.openxmlformats.org';
const namespaces = `xmlns:w="${office}/wordprocessingml/2006/main" xmlns:m="${office}/officeDocument/2006/math"
  xmlns:mc="${office}/markup-compatibility/2006" xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"
  xmlns:wp="${office}/drawingml/2006/wordprocessingDrawing" xmlns:a="${office}/drawingml/2006/main"
  xmlns:v="urn:schemas-microsoft-com:vml" xmlns:r="${office}/officeDocument/2006/relationships"`;

/** A document whose body is `body`, in the XML of Word. */
async function docx(body: string, footnotes?: string): Promise<ExtractedText> {
  const types = 'application/vnd.openxmlformats-officedocument.wordprocessingml';
  const relationships = (target: string, type: string) =>
    `<Relationships xmlns="${office}/package/2006/relationships"><Relationship Id="r1" Type="${office}/officeDocument/2006/relationships/${type}" Target="${target}"/></Relationships>`;
  const archive = new JSZip();
  archive.file(
    '[Content_Types].xml',
    `<Types xmlns="${office}/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="${types}.document.main+xml"/></Types>`,
  );
  archive.file('_rels/.rels', relationships('word/document.xml', 'officeDocument'));
  archive.file(
    'word/document.xml',
    `<?xml version="1.0"?>\n<w:document ${namespaces}><w:body>${body}</w:body></w:document>\n`,
  );
  if (footnotes !== undefined) {
    archive.file('word/_rels/document.xml.rels', relationships('footnotes.xml', 'footnotes'));
    archive.file('word/footnotes.xml', `<w:footnotes ${namespaces}>${footnotes}</w:footnotes>`);
  }
  return fromWord(await archive.generateAsync({ type: 'uint8array' }));
}

const run = (text: string) => `<w:r><w:t xml:space="preserve">${text}</w:t></w:r>`;
const paragraph = (...runs: readonly string[]) => `<w:p>${runs.join('')}</w:p>`;
const math = (text: string) => `<m:r><m:t>${text}</m:t></m:r>`;
const equation = (...parts: readonly string[]) => `<m:oMath>${parts.join('')}</m:oMath>`;

async function lineOf(...runs: readonly string[]): Promise<string> {
  const { text, unread } = await docx(paragraph(...runs));
  assert.deepEqual(unread, []);
  return text.trimEnd();
}

describe('text of Word documents', () => {
  it('of fields, of runs that say their direction, of breaks', async () => {
    const field = `<w:fldSimple w:instr="REF x"><w:fldData>AAAA</w:fldData>${run('chapter ')}<w:fldSimple>${run('3')}</w:fldSimple></w:fldSimple>`;
    assert.equal(await lineOf(run('See '), field, run(' &amp; below.')), 'See chapter 3 & below.');
    const turned = `<w:bdo w:val="rtl"><w:dir w:val="ltr">${run('נורי')}</w:dir></w:bdo>`;
    assert.equal(await lineOf(run('Norrey: '), turned, '<w:dir/>', run('.')), 'Norrey: נורי.');
    assert.equal(await lineOf('<w:r><w:t>a</w:t><w:cr/><w:t>b</w:t><w:ptab/><w:t>c</w:t></w:r>'), 'a\nb\tc');
  });

  it('of ruby: the base, and in brackets how it is read', async () => {
    const ruby = `<w:ruby><w:rubyPr><w:lid w:val="ja-JP"/></w:rubyPr><w:rt>${run('かんじ')}</w:rt><w:rubyBase>${run('漢字')}</w:rubyBase></w:ruby>`;
    assert.equal(await lineOf(run('これは'), `<w:r>${ruby}</w:r>`, run('です。')), 'これは漢字(かんじ)です。');
  });

  it('of equations, on one line', async () => {
    const of = async (...parts: readonly string[]) => lineOf(equation(...parts));
    const e = (text: string) => `<m:e>${math(text)}</m:e>`;
    const square = `<m:sSup>${e('c')}<m:sup>${math('2')}</m:sup></m:sSup>`;
    assert.equal(await lineOf(run('So '), equation(math('E=m'), square), run(' always.')), 'So E=mc^2 always.');
    assert.equal(await of(`<m:f><m:num>${math('a+b')}</m:num><m:den>${math('12')}</m:den></m:f>`), '(a+b)/12');
    const sum = `<m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>${math('i=1')}</m:sub><m:sup>${math('n')}</m:sup>`;
    assert.equal(await of(`<m:nary>${sum}${e('x &lt; y')}</m:nary>`), '∑_(i=1)^n x < y');
    assert.equal(
      await of(`<m:rad><m:deg/>${e('x')}</m:rad><m:rad><m:deg>${math('3')}</m:deg>${e('y')}</m:rad>`),
      '√(x)√[3](y)',
    );
    const matrix = `<m:m><m:mr>${e('a')}${e('b')}</m:mr><m:mr>${e('c')}${e('d')}</m:mr></m:m>`;
    assert.equal(
      await of(`<m:d><m:dPr><m:begChr m:val="|"/><m:endChr m:val="|"/></m:dPr><m:e>${matrix}</m:e></m:d>`),
      '|[a, b; c, d]|',
    );
    assert.equal(await of(`<m:func><m:fName>${math('sin')}</m:fName>${e('x')}</m:func>`), 'sin x');
    const apart = await docx(
      `${paragraph(run('a'))}<m:oMathPara>${equation(math('x=1'))}</m:oMathPara>${paragraph(run('b'))}`,
    );
    assert.equal(apart.text, 'a\n\nx=1\n\nb\n\n');
  });

  it('of text boxes, in their old form or without it, once', async () => {
    const box = `<w:txbxContent>${paragraph(run('in the box '), equation(math('x')))}</w:txbxContent>`;
    const shape = `<wps:wsp><wps:txbx>${box}</wps:txbx></wps:wsp>`;
    const drawing = `<w:r><w:drawing><wp:inline><a:graphic><a:graphicData>${shape}</a:graphicData></a:graphic></wp:inline></w:drawing></w:r>`;
    const old = `<mc:Fallback><w:r><w:pict><v:shape><v:textbox>${box}</v:textbox></v:shape></w:pict></w:r></mc:Fallback>`;
    const picture = '<mc:Fallback><w:r><w:pict><v:shape/></w:pict></w:r></mc:Fallback>';
    const choice = `<mc:Choice Requires="wps">${drawing}</mc:Choice>`;
    const expected = 'before after\n\nin the box x';
    for (const form of [
      drawing,
      ...['', old, picture].map((end) => `<mc:AlternateContent>${choice}${end}</mc:AlternateContent>`),
    ]) {
      assert.equal(await lineOf(run('before '), form, run('after')), expected);
    }
  });

  it('of notes, by the same rules', async () => {
    const note = `<w:footnote w:id="1">${paragraph(`<w:fldSimple>${run('page 12')}</w:fldSimple>`)}</w:footnote>`;
    const { text } = await docx(paragraph(run('oil'), '<w:r><w:footnoteReference w:id="1"/></w:r>'), note);
    assert.equal(text, 'oil\n\npage 12\n\n');
  });

  it('of tables: a line for each row, its cells in their columns', async () => {
    const cell = (...blocks: readonly string[]) => `<w:tc><w:tcPr/>${blocks.join('') || '<w:p/>'}</w:tc>`;
    const row = (...cells: readonly string[]) => `<w:tr>${cells.join('')}</w:tr>`;
    const table = (...rows: readonly string[]) => `<w:tbl><w:tblPr/><w:tblGrid/>${rows.join('')}</w:tbl>`;
    const plain = (text: string) => cell(paragraph(run(text)));
    const of = async (...rows: readonly string[]) =>
      (await docx(`${paragraph(run('before'))}${table(...rows)}${paragraph(run('after'))}`)).text;
    const mark = '<w:bookmarkStart w:id="1" w:name="m"/>';
    const address = cell(paragraph(run('12 High St')), paragraph(run('Norrey'), '<w:r><w:br/></w:r>', run('Isles')));
    assert.equal(
      await of(
        row(plain('Bridge'), plain('Lamp'), plain('Place')),
        mark,
        row(plain('closed'), mark, cell(), address),
        row(cell(), cell()),
      ),
      'before\n\nBridge | Lamp | Place\nclosed |  | 12 High St Norrey Isles\n\nafter\n\n',
    );
    assert.equal(
      await of(row(plain('a'), plain('b')), row(address, cell()), row(plain('c'), plain('d'))),
      'before\n\na | b\n\n12 High St\n\nNorrey\nIsles\n\nc | d\n\nafter\n\n',
    );
    const inner = table(row(plain('Year'), plain('Lamp')), row(plain('1923'), plain('electric')));
    assert.equal(
      await of(row(plain('Home'), cell(paragraph(run('An island.')), inner, '<w:p/>'))),
      'before\n\nHome\n\nAn island.\n\nYear | Lamp\n1923 | electric\n\nafter\n\n',
    );
  });

  it('of notes in a table, behind it', async () => {
    const note = `<w:footnote w:id="1">${paragraph(run('page 12'))}</w:footnote>`;
    const oil = paragraph(run('oil'), '<w:r><w:footnoteReference w:id="1"/></w:r>');
    const cells = `<w:tc>${oil}</w:tc><w:tc>${paragraph(run('1871'))}</w:tc>`;
    const { text } = await docx(`<w:tbl><w:tr>${cells}</w:tr></w:tbl>`, note);
    assert.equal(text, 'oil | 1871\n\npage 12\n\n');
  });

  it('names what is not read, and only where there is something to read', async () => {
    const unknown = '<w:unheard><w:r><w:t>lost</w:t></w:r></w:unheard>';
    const symbol = '<w:r><w:sym w:font="Own" w:char="F0FF"/></w:r>';
    const { text, unread } = await docx(
      `${paragraph(run('kept'), '<w:permStart w:id="1"/>', unknown, symbol)}<w:altChunk r:id="r9"/>`,
    );
    assert.equal(text, 'kept\n\n');
    assert.deepEqual(unread, [
      {
        part: 'elements w:unheard, w:altChunk',
        reason: 'what stands there is not read; copy it into ordinary paragraphs',
      },
      { part: 'symbol char F0FF in font Own', reason: 'it is not known which character that is' },
    ]);
  });

  it('tells of diagrams and charts, whose words lie in files of their own', async () => {
    const drawing = (kind: string) =>
      `<w:r><w:drawing><wp:inline><a:graphic><a:graphicData uri="${office}/drawingml/2006/${kind}"/></a:graphic></wp:inline></w:drawing></w:r>`;
    const { unread = [] } = await docx(paragraph(run('a'), drawing('chart'), drawing('diagram'), drawing('chart')));
    assert.deepEqual(
      unread.map(({ part }) => part),
      ['charts, diagrams'],
    );
    assert.deepEqual((await docx(paragraph(run('a'), drawing('picture')))).unread, []);
  });

  it('any prefix of the namespace will do, and none', async () => {
    const archive = new JSZip();
    const word = `xmlns="${office}/wordprocessingml/2006/main" xmlns:f="${office}/officeDocument/2006/math"`;
    archive.file(
      'word/document.xml',
      `<document ${word}><body><p><fldSimple><r><t>a</t></r></fldSimple><f:oMath><f:r><f:t>b</f:t></f:r></f:oMath></p></body></document>`,
    );
    const { text } = await fromWord(await archive.generateAsync({ type: 'uint8array' }));
    assert.equal(text, 'ab\n\n');
  });
});
