import assert from 'node:assert/strict';
import { it } from 'node:test';
import { withReadableText } from './word-markup.ts';

const declared =
  'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"';

it('markup of Word that is readable stays as it is, to the last character', async () => {
  const xml =
    `\ufeff<?xml version="1.0"?>\r\n<!-- <w:cr/> --><w:document ${declared} w:a='"&amp;'>\n<w:t>a &#228; &lt; 𝔸 é <![CDATA[<w:cr/>]]>` +
    '</w:t ><mc:AlternateContent><mc:Choice Requires="x"/><mc:Fallback><w:t>b</w:t></mc:Fallback></mc:AlternateContent><w:br />' +
    '<x:cr xmlns:x="urn:other"/><w:dirt></w:dirt></w:document>\n<?end?>\n';
  assert.equal(await withReadableText(xml), xml);
  const changed = xml.replace('<w:br />', '<w:cr/>');
  assert.equal(await withReadableText(changed), xml.replace('<w:br />', '<w:br></w:br>'));
});
