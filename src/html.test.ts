import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html } from './html.ts';

test('what is put into a template is text; templates and lists of them are markup', () => {
  const hostile = `<script>"&'</script>`;
  const escaped = '&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;';
  assert.equal(html`<p title="${hostile}">${hostile}</p>`.markup, `<p title="${escaped}">${escaped}</p>`);
  const items = ['a', '<b>'].map((name) => html`<li>${name}</li>`);
  assert.equal(html`<ul>${items}</ul>`.markup, '<ul><li>a</li><li>&lt;b&gt;</li></ul>');
  assert.equal(html`${3}${null}${[['<'], 0]}`.markup, '3&lt;0');
  assert.equal(html`${'&amp;'}`.markup, '&amp;amp;', 'an escaped text is a text like any other');
});
