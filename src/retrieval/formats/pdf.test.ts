import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fromPdf } from './pdf.ts';

/** A PDF of one page: an English line, then the bytes `shown` in a font whose characters the map `encoding` names. */
function pdfWith(encoding: string, ordering: string, shown: Uint8Array): Uint8Array {
  const stream = `BT /F2 24 Tf 50 740 Td (Report) Tj ET BT /F1 24 Tf 50 700 Td <${Buffer.from(shown).toString('hex')}> Tj ET`;
  const objects = [
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R/F2 8 0 R>>>>>>',
    `<</Length ${stream.length}>>stream\n${stream}\nendstream`,
    `<</Type/Font/Subtype/Type0/BaseFont/Song/Encoding/${encoding}/DescendantFonts[6 0 R]>>`,
    `<</Type/Font/Subtype/CIDFontType0/BaseFont/Song/CIDSystemInfo<</Registry(Adobe)/Ordering(${ordering})/Supplement 2>>/FontDescriptor 7 0 R>>`,
    '<</Type/FontDescriptor/FontName/Song/Flags 4/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 800/Descent -200/CapHeight 800/StemV 80>>',
    '<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>',
  ];
  let pdf = '%PDF-1.4\n';
  const places = objects.map((object, index) => {
    const place = pdf.length;
    pdf += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return `${String(place).padStart(10, '0')} 00000 n \n`;
  });
  const table = pdf.length;
  pdf += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${places.join('')}`;
  return Buffer.from(`${pdf}trailer<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${table}\n%%EOF`, 'latin1');
}

describe('PDF with fonts of Chinese, Japanese and Korean', () => {
  const bigEndian = (text: string) => Buffer.from(text, 'utf16le').swap16();
  const cases: readonly (readonly [map: string, ordering: string, text: string, bytes: Uint8Array])[] = [
    ['UniGB-UCS2-H', 'GB1', '大桥在三月关闭', bigEndian('大桥在三月关闭')],
    ['UniJIS-UCS2-V', 'Japan1', '橋は三月に閉鎖', bigEndian('橋は三月に閉鎖')],
    ['GBK-EUC-H', 'GB1', '大桥在三月', Buffer.from('b4f3c7c5d4dac8fdd4c2', 'hex')],
    ['90ms-RKSJ-H', 'Japan1', '橋', Buffer.from('8bb4', 'hex')],
    ['ETen-B5-H', 'CNS1', '橋', Buffer.from('bef4', 'hex')],
    ['KSCms-UHC-H', 'Korea1', '다리', Buffer.from('b4d9b8ae', 'hex')],
  ];
  for (const [map, ordering, expected, bytes] of cases) {
    it(`${map}: characters that only a map of the standard names are read`, async () => {
      const { text, unread } = await fromPdf(pdfWith(map, ordering, bytes));
      assert.equal(text.replaceAll(/\s/g, ''), `Report${expected}`);
      assert.deepEqual(unread, []);
    });
  }

  it('a map that cannot be read is told, though the page has other text', async () => {
    const pdf = pdfWith('UniGB-UCS2-H', 'GB1', bigEndian('大桥'));
    const { text, unread = [] } = await fromPdf(pdf, new URL('./nowhere/', import.meta.url));
    assert.equal(text.trim(), 'Report');
    assert.equal(unread.length, 1);
    assert.match(unread[0]?.reason ?? '', /lacks the character maps UniGB-UCS2-H/);
  });
});
