import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { extractText, mediaTypeOf, mediaTypes } from './document-formats.ts';

describe('formats', () => {
  it('are what the end of a name says, in any case; of gzip only JSON Lines', () => {
    const names = {
      'a.HTM': 'html',
      'a.b.md': 'markdown',
      'a.jsonl.GZ': 'jsonLines',
      'a.txt.gz': 'text',
      gz: 'text',
    } as const;
    for (const [name, type] of Object.entries(names))
      assert.equal(mediaTypeOf(`/x.pdf/${name}`), mediaTypes[type], name);
    assert.equal(mediaTypeOf('.jsonl'), mediaTypes.text, 'a hidden file without an end');
  });

  const markdown = (text: string) => extractText(Buffer.from(text), mediaTypes.markdown);

  it('Markdown as it stands, its first heading as the title', async () => {
    const text = 'intro\n\n# The *first* one #\n\n# Second\n';
    assert.deepEqual(await markdown(text), { title: 'The *first* one', text });
  });

  it('Markdown: a heading’s closing "#" are not its own, those of a word are', async () => {
    const headings = { '# C#': 'C#', '# A ##\t': 'A', '#  \n# B': 'B', '# #\r\n# C': 'C', '## D': null };
    for (const [text, title] of Object.entries(headings)) assert.equal((await markdown(text)).title, title, text);
  });
});
