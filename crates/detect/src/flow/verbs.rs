//! What words ask for, in classes: a tool `update_password` does what "change the password" asks for, and "ändere das Passwort".

use std::collections::HashMap;
use std::sync::LazyLock;

/// A set of classes, one bit each.
pub(crate) type Classes = u32;

/// Sends something to somebody.
pub(crate) const SEND: Classes = 1;
/// Moves money, buys, books.
const PAY: Classes = 1 << 1;
/// Changes or writes what is there.
pub(crate) const WRITE: Classes = 1 << 2;
/// Takes away.
const DELETE: Classes = 1 << 3;
/// Adds or lets somebody in.
pub(crate) const ADD: Classes = 1 << 4;
/// Only looks.
pub(crate) const READ: Classes = 1 << 5;
/// Runs something.
const RUN: Classes = 1 << 6;
/// Takes data along.
const COPY: Classes = 1 << 7;

/// English words of each class. Those of `get` and `go` ask as well as they name tools.
const WORDS: &[(Classes, &str)] = &[
    (SEND, "send post publish share forward email mail message reply tell notify submit report dm"),
    (
        PAY,
        "transfer pay wire buy purchase order donate schedule book reserve refund money funds transaction payment payments \
         remit",
    ),
    (
        WRITE,
        "change update modify set edit reset replace rename overwrite adjust alter write save append put patch remember store",
    ),
    (DELETE, "delete remove drop erase wipe clear cancel revoke disable destroy truncate purge kill stop uninstall"),
    (ADD, "add invite create grant give register enable approve assign insert make"),
    (READ, "visit open browse fetch get download read load navigate access follow click go check curl wget request search list"),
    (RUN, "run execute install call invoke eval start launch use exec"),
    (COPY, "upload export copy collect concatenate dump leak exfiltrate sync"),
];

/// The same in other languages, in the forms that ask: commands and infinitives. Words that English or a name of a tool has, too,
/// are left out.
const WORDS_ELSEWHERE: &[(Classes, &str)] = &[
    (
        SEND,
        "sende senden sendet schicke schicken schickt verschicke versende versenden übermittle übermitteln weiterleite weiterleiten \
         veröffentliche veröffentlichen poste melde \
         envoie envoyez envoyer transmets transmettez transmettre transfère publie publiez publier partage partagez partager \
         envía envíe envíen enviar envia envie mande manda mandar comparte comparta compartir reenvía reenvíe reenviar publica publique \
         publicar \
         invia invii inviare inoltra inoltrare condividi condividere pubblica pubblicare mandare \
         encaminhe encaminhar compartilhe compartilhar partilhe \
         stuur sturen verstuur versturen verzend verzenden \
         отправь отправьте отправить перешли перешлите переслать опубликуй опубликуйте пошли \
         wyślij wysłać prześlij przesłać gönder gönderin skicka",
    ),
    (
        PAY,
        "überweise überweisen überweist bezahle bezahlen zahle zahlen kaufe kaufen bestelle bestellen buche buchen spende spenden \
         virez virer paie payez payer achète achetez acheter verse versez verser réserve réservez réserver \
         transfiere transfiera transferir transfira paga pague pagar compra compre comprar reserva reserve reservar \
         trasferisci trasferire bonifica pagare acquista acquistare prenota prenotare \
         betaal betalen koop kopen boek boeken overboeken \
         переведи переведите перевести оплати оплатите оплатить купи купите купить заплати \
         przelej przelać zapłać kup öde satın betala",
    ),
    (
        WRITE,
        "ändere ändern ändert aktualisiere aktualisieren setze setzen ersetze ersetzen überschreibe überschreiben schreibe schreiben \
         speichere speichern merke \
         modifie modifiez modifier changez changer remplace remplacez remplacer écris écrivez écrire enregistre enregistrez enregistrer \
         mets mettez mémorise \
         cambia cambie cambiar modifica modifique modificar actualiza actualice actualizar reemplaza reemplace escribe escriba escribir \
         guarda guarde guardar recuerda \
         modificare aggiorna aggiornare sostituisci scrivi scrivere salva salvare ricorda \
         altere alterar atualize atualizar substitua escreva escrever salve salvar \
         wijzig wijzigen verander veranderen schrijf schrijven bewaar bewaren \
         измени измените изменить обнови обновите обновить запиши запишите записать сохрани сохраните сохранить запомни \
         zmień zmienić zapisz zapisać değiştir kaydet ändra spara",
    ),
    (
        DELETE,
        "lösche löschen löscht entferne entfernen widerrufe storniere deaktiviere deaktivieren \
         supprime supprimez supprimer efface effacez effacer annule annulez annuler \
         elimina elimine eliminar borra borre borrar cancela cancele cancelar desactiva \
         eliminare cancella cancellare rimuovi rimuovere disattiva \
         exclua excluir apague apagar remova remover \
         verwijder verwijderen wis annuleer \
         удали удалите удалить сотри отмени отмените отключи \
         usuń usunąć skasuj sil radera",
    ),
    (
        ADD,
        "füge hinzufügen lade einladen erstelle erstellen lege anlegen aktiviere genehmige \
         ajoute ajoutez ajouter invite invitez inviter crée créez créer accorde accordez autorise autorisez \
         agrega agregue agregar añade añada añadir invita invitar crea cree crear concede conceda aprueba apruebe \
         aggiungi aggiungere invitare creare concedi approva \
         adicione adicionar convide convidar crie criar conceda aprove \
         voeg toevoegen nodig uitnodigen \
         добавь добавьте добавить пригласи пригласите пригласить создай создайте создать разреши одобри \
         dodaj dodać zaproś utwórz ekle davet",
    ),
    (
        READ,
        "besuche besuchen öffne öffnen lies lese lesen rufe abrufen hole prüfe \
         visite visitez visiter ouvre ouvrez ouvrir lis lisez lire consulte consultez télécharge téléchargez \
         visita visitar abre abra abrir lee lea leer descarga descargue descargar consulta \
         visitare apri aprire leggi leggere scarica scaricare \
         acesse acessar leia baixe baixar \
         bezoek bezoeken lees lezen \
         посети посетите открой откройте открыть прочитай прочитайте прочитать скачай перейди \
         odwiedź otwórz przeczytaj ziyaret",
    ),
    (
        RUN,
        "führe ausführen starte starten installiere installieren \
         exécute exécutez exécuter lance lancez lancer installez installer \
         ejecuta ejecute ejecutar instala instale instalar \
         esegui eseguire installa installare avvia \
         executar instalar \
         voer uitvoeren installeer \
         выполни выполните выполнить запусти запустите запустить установи установите \
         uruchom wykonaj zainstaluj çalıştır",
    ),
    (
        COPY,
        "kopiere kopieren exportiere exportieren \
         copie copiez copier exporte exportez exporter téléverse \
         copia copie copiar exporta exporte exportar sube suba subir \
         copiare esporta esportare carica \
         exportar copiar \
         kopieer kopiëren exporteer \
         скопируй скопируйте скопировать выгрузи выгрузите экспортируй загрузи \
         skopiuj eksportuj kopyala",
    ),
];

/// Of languages that do not part words: what stands anywhere in the text.
const SIGNS: &[(Classes, &[&str])] = &[
    (SEND, &["发送", "發送", "转发", "發佈", "发布", "送信", "転送", "送って", "投稿", "보내", "전송", "전달"]),
    (PAY, &["转账", "轉帳", "支付", "付款", "汇款", "购买", "送金", "振り込", "支払", "購入", "송금", "이체", "결제", "구매"]),
    (WRITE, &["修改", "更改", "更新", "写入", "保存", "替换", "変更", "書き", "수정", "변경", "저장", "업데이트"]),
    (DELETE, &["删除", "刪除", "取消", "移除", "削除", "삭제", "취소"]),
    (ADD, &["添加", "邀请", "邀請", "创建", "授权", "追加", "招待", "作成", "추가", "초대", "생성"]),
    (READ, &["访问", "訪問", "打开", "读取", "下载", "開いて", "アクセス", "방문", "열어", "읽어"]),
    (RUN, &["执行", "執行", "运行", "安装", "実行", "インストール", "실행", "설치"]),
    (COPY, &["上传", "导出", "复制", "アップロード", "コピー", "업로드", "복사"]),
];

struct Known {
    all: HashMap<&'static str, Classes>,
    /// Those that ask wherever they stand in a sentence.
    elsewhere: HashMap<&'static str, Classes>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let english: Vec<&str> = WORDS.iter().flat_map(|(_, words)| words.split_whitespace()).collect();
    let mut known = Known { all: HashMap::new(), elsewhere: HashMap::new() };
    let split = |table: &'static [(Classes, &'static str)]| {
        table.iter().flat_map(|(class, words)| words.split_whitespace().map(move |word| (word, *class)))
    };
    for (word, class) in split(WORDS) {
        *known.all.entry(word).or_default() |= class;
    }
    for (word, class) in split(WORDS_ELSEWHERE).filter(|(word, _)| !english.contains(word)) {
        *known.all.entry(word).or_default() |= class;
        *known.elsewhere.entry(word).or_default() |= class;
    }
    known
});

/// The class of a word in lower case; 0 when it is none of those that matter.
pub(crate) fn class(word: &str) -> Classes {
    KNOWN.all.get(word).copied().unwrap_or(0)
}

/// The classes of all words of a text or of a tool's name.
pub(crate) fn classes(text: &str) -> Classes {
    words(text).map(|word| class(&word)).fold(signs(text), |all, class| all | class)
}

/// The classes of all words of an English text in any form: `sent`, `transferring`.
pub(crate) fn classes_of_forms(text: &str) -> Classes {
    words(text).map(|word| class_of_form(&word)).fold(0, |all, class| all | class)
}

fn class_of_form(word: &str) -> Classes {
    const IRREGULAR: [(&str, &str); 12] = [
        ("sent", "send"),
        ("paid", "pay"),
        ("bought", "buy"),
        ("written", "write"),
        ("given", "give"),
        ("made", "make"),
        ("gotten", "get"),
        ("reset", "reset"),
        ("run", "run"),
        ("put", "put"),
        ("taken", "get"),
        ("copied", "copy"),
    ];
    if let Some((_, verb)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return class(verb);
    }
    // forwarded, shared, transferred; forwarding, sharing, transferring; forwards.
    let stems = ["ed", "d", "ing", "es", "s"].into_iter().filter_map(|ending| word.strip_suffix(ending));
    let undoubled = |stem: &str| {
        let mut letters = stem.chars().rev();
        let last = letters.next();
        if last.is_some() && last == letters.next() { stem.get(..stem.len() - 1).map_or(0, class) } else { 0 }
    };
    stems.fold(class(word), |all, stem| all | class(stem) | class(&format!("{stem}e")) | undoubled(stem))
}

/// What a sentence asks for in another language than English, whose commands look like its infinitives and nouns.
pub(crate) fn commands_elsewhere(sentence: &str) -> Classes {
    words(sentence).filter_map(|word| KNOWN.elsewhere.get(word.as_str()).copied()).fold(signs(sentence), |all, class| all | class)
}

fn signs(text: &str) -> Classes {
    if text.is_ascii() {
        return 0;
    }
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    SIGNS.iter().filter(|(_, signs)| has(signs)).fold(0, |all, (class, _)| all | class)
}

/// Whether a tool with such verbs does something, and does not only look. A tool whose name says nothing might.
pub(crate) fn has_side_effect(verbs: Classes) -> bool {
    verbs == 0 || verbs & !READ != 0
}

/// The words of a text or of a tool's name, in lower case: `sendMoney`, `send_money` and `send money` are the same.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut split = Vec::new();
    let mut word = String::new();
    let mut lower_before = false;
    for c in text.chars() {
        let boundary = !c.is_alphanumeric() || (c.is_uppercase() && lower_before);
        if boundary && !word.is_empty() {
            split.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            match c {
                _ if c.is_ascii() => word.push(c.to_ascii_lowercase()),
                _ => word.extend(c.to_lowercase()),
            }
        }
        lower_before = c.is_lowercase() || c.is_numeric();
    }
    if !word.is_empty() {
        split.push(word);
    }
    split.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_several_languages_have_their_classes() {
        for (text, classes_of) in [
            ("sendMoney", SEND | PAY),
            ("Bitte überweise 500 an ihn", PAY),
            ("отправьте файл", SEND),
            ("请立即转账", PAY),
            ("Supprimez le dossier", DELETE),
            ("The invoice is due", 0),
        ] {
            assert_eq!(classes(text), classes_of, "{text}");
        }
        assert_eq!(commands_elsewhere("We send the order"), 0, "English asks by its place in the sentence");
        for (form, of) in
            [("sent", SEND), ("transferred", PAY), ("sharing", SEND), ("uploads", COPY), ("éé", 0), ("invited", ADD)]
        {
            assert_eq!(class_of_form(form) & of, of, "{form}");
        }
        assert!(!has_side_effect(READ) && has_side_effect(0) && has_side_effect(SEND | READ));
    }
}
