"""The forms of the pages of groups. They only define fields; the schemas validate their values."""

from wtforms import HiddenField, StringField

from project.api.users.forms import VersionedForm
from project.web.forms import PageForm, strip
from project.web.languages import lazy_gettext as _


class GroupForm(PageForm):
    """Adds a group."""

    display_name = StringField(_("Name of the group"), filters=[strip])


class GroupPageForm(GroupForm, VersionedForm):
    """Renames a group in the version that the form showed."""


class MemberForm(PageForm):
    """Adds or removes a member: by id, or whom the text means."""

    person = StringField(_("Add a member by name, email address or ID"), filters=[strip])
    user_id = HiddenField()
